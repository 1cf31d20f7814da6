"""What a trial asks of a machine or a cluster (its share of CPUs and GPUs), and how many trials run at once."""

from __future__ import annotations

import os

import torch

from search.config.study_config import ClusterConfig, StudyConfig
from search.errors import Problem


def per_trial(cluster: ClusterConfig, gpus: float) -> dict[str, float]:
    """What each trial asks for, as Ray takes it.

    Args:
        cluster: the study file's section.
        gpus: GPUs that are there.

    Returns:
        `cpu`, and `gpu` unless it is 0: what the study says, else a whole GPU where there is one.
    """
    share = cluster.gpus_per_trial
    if share is None:
        share = 1.0 if gpus >= 1 else 0.0
    return {"cpu": cluster.cpus_per_trial, **({"gpu": share} if share else {})}


def at_once(config: StudyConfig, resources: dict[str, float]) -> int:
    """Trials that fit at once, so that none is proposed long before it can start; 0 where not even one does.

    Args:
        config: the study.
        resources: what is there: `CPU`, and `GPU` where there is one.
    """
    asked = per_trial(config.cluster, resources.get("GPU", 0))
    fit = min(int(resources.get(name.upper(), 0) // amount) for name, amount in asked.items())
    return min(fit, config.cluster.max_concurrent_trials or fit)


def of_this_machine() -> dict[str, float]:
    """CPU cores that this process may use, and GPUs."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"CPU": float(cpus), "GPU": float(torch.cuda.device_count())}


def problems(config: StudyConfig) -> list[Problem]:
    """A trial that asks for more than this machine has would wait for ever."""
    if config.cluster.address is not None:
        return []
    found = []
    there, cluster = of_this_machine(), config.cluster
    for name, asked, kind, what in (
        ("cpus_per_trial", cluster.cpus_per_trial, "CPU", "cores"),
        ("gpus_per_trial", cluster.gpus_per_trial or 0, "GPU", "GPUs"),
    ):
        if asked > there[kind]:
            text = f"must be at most {there[kind]:g}, the {what} of this machine, not {asked:g}"
            found.append(Problem(f"cluster.{name}", text))
    return found
