"""The provenance of a result: versions, source, seeds, hashes of model and data, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from search.config import places, study_file
from search.config.study_config import StudyConfig
from search.tasks import Task
from search.training import model_files

_SOURCE = (":/search", ":/methods", ":/clusters", ":/dashboards", ":/pyproject.toml")
"""The source that a result depends on, for the check of uncommitted changes."""
_PACKAGES = ("promptfront", "ray", "torch", "transformers", "datasets", "optuna", "mlflow", "scikit-learn")


def collect(config: StudyConfig, tasks: Sequence[Task]) -> dict[str, Any]:
    """Collects the provenance of a launch as plain values; `tasks` are the loaded tasks, for their hashes."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--", *_SOURCE)
    path = model_files.locate(config.model)
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "commit": commit,
        "dirty": None if status is None else bool(status),
        "seed": config.seed,
        "model": {"name": config.model.name_or_path, "sha256": model_files.weights_sha256(path)},
        "data": {task.name: {name: split.sha256 for name, split in task.splits.items()} for task in tasks},
        "machine": _machine(),
        "command": places.without_passwords(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "study_file": places.without_passwords(study_file.dump(config)),
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "system": platform.platform(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*command: str) -> str | None:
    """The output of git in the source tree; None if that is not a git checkout."""
    source = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", *command], cwd=source, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
