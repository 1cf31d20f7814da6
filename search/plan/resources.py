"""What of a study this machine can run, and how much of it at once."""

from __future__ import annotations

import os

import torch

from search.config.study_config import StudyConfig
from search.errors import Problem


def problems(config: StudyConfig) -> list[Problem]:
    """A trial that asks for more than this machine has would wait for ever."""
    if config.cluster.address is not None:
        return []
    found = []
    cpus, gpus = _cpus(), torch.cuda.device_count()
    if config.cluster.cpus_per_trial > cpus:
        text = f"must be at most {cpus}, the cores of this machine, not {config.cluster.cpus_per_trial:g}"
        found.append(Problem("cluster.cpus_per_trial", text))
    if (config.cluster.gpus_per_trial or 0) > gpus:
        text = f"must be at most {gpus}, the GPUs of this machine, not {config.cluster.gpus_per_trial:g}"
        found.append(Problem("cluster.gpus_per_trial", text))
    return found


def parallel_trials(config: StudyConfig) -> int:
    """Trials at once on this machine, or on one like it."""
    cluster = config.cluster
    fit = max(1, int(_cpus() // cluster.cpus_per_trial))
    gpus = torch.cuda.device_count()
    if gpus:
        fit = min(fit, max(1, int(gpus // (cluster.gpus_per_trial or 1))))
    return min(fit, cluster.max_concurrent_trials or fit)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
