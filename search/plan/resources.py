"""The CPUs and GPUs of a trial, and how many trials run at once."""

from __future__ import annotations

import os

import torch

from search.config.study_config import ClusterConfig, StudyConfig
from search.errors import Problem


def per_trial(cluster: ClusterConfig, gpus: float) -> dict[str, float]:
    """The resources of a trial, in Ray's form.

    Args:
        cluster: the study file's section `cluster`.
        gpus: the number of GPUs in the machine or cluster.

    Returns:
        `cpu`, and `gpu` unless it is 0. If the study does not set the GPUs, a trial gets a whole one if there is one.
    """
    share = cluster.gpus_per_trial
    if share is None:
        share = 1.0 if gpus >= 1 else 0.0
    return {"cpu": cluster.cpus_per_trial, **({"gpu": share} if share else {})}


def at_once(config: StudyConfig, resources: dict[str, float]) -> int:
    """How many trials fit at once; 0 if not even one does.

    No more are proposed, so that none waits for long between its proposal and its start.

    Args:
        config: the study.
        resources: the machine's or cluster's `CPU`, and `GPU` if it has any.
    """
    asked = per_trial(config.cluster, resources.get("GPU", 0))
    fit = min(int(resources.get(name.upper(), 0) // amount) for name, amount in asked.items())
    fit *= config.cluster.trials_per_gpu
    return min(fit, config.cluster.max_concurrent_trials or fit)


def shown(resources: dict[str, float]) -> str:
    """CPU cores and GPUs in words, in Ray's form for a trial or a cluster."""
    found = {name.upper(): amount for name, amount in resources.items()}
    cores = f"{found.get('CPU', 0):g} CPU cores"
    return f"{cores} and {found['GPU']:g} GPUs" if "GPU" in found else cores


def of_this_machine() -> dict[str, float]:
    """The CPU cores that this process may use, and the GPUs."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"CPU": float(cpus), "GPU": float(torch.cuda.device_count())}


def problems(config: StudyConfig) -> list[Problem]:
    """Finds settings that ask for more than this machine has, where a trial would wait forever, and an output that is shut."""
    found = []
    place = next(each for each in (config.folder, *config.folder.absolute().parents) if each.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        what = "is not a folder" if not place.is_dir() else "cannot be written to by this user"
        found.append(Problem("output_dir", f"must be a folder that can be written to; {place} {what}"))
    if config.cluster.address is not None:
        return found
    there, cluster = of_this_machine(), config.cluster
    for name, asked, kind, what in (
        ("cpus_per_trial", cluster.cpus_per_trial, "CPU", "cores"),
        ("gpus_per_trial", cluster.gpus_per_trial or 0, "GPU", "GPUs"),
    ):
        if asked > there[kind]:
            text = f"must be at most {there[kind]:g}, the number of {what} of this machine, not {asked:g}"
            found.append(Problem(f"cluster.{name}", text))
    return found
