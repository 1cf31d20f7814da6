"""A trial's checkpoint: one safetensors file, from which it goes on exactly as it would have.

Written whole under another name and then renamed, so a file that exists is complete; the last two are kept,
so that one that the disk has damaged since costs one evaluation interval, not the trial.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from methods import parameters
from search.training import Trial

_KEPT = 2


class DiskFullError(OSError):
    """A checkpoint cannot be written for want of space; the one before it is as it was."""


class Restored(NamedTuple):
    """A checkpoint that a trial goes on from, and what was to be reported of it."""

    path: Path
    report: dict[str, Any] | None


def save(trial: Trial, folder: Path, report: dict[str, Any] | None = None) -> Path:
    """Writes `folder/step-N.safetensors` and removes all but the last two.

    Args:
        trial: at its present step.
        folder: of its checkpoints.
        report: what will be reported of it, as JSON can hold it: the process may end before it is.

    Raises:
        DiskFullError: there is no space for it.
    """
    try:
        return _save(trial, folder, report)
    except (OSError, SafetensorError) as error:
        if not _no_space(error):
            raise
        raise DiskFullError(f"no space is left for checkpoints in {folder.parent}: {error}") from error


def _no_space(error: Exception) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in full
    return any(f"os error {number})" in str(error) for number in full)  # safetensors says it in words only


def _save(trial: Trial, folder: Path, report: dict[str, Any] | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        **{f"method.{name}": tensor for name, tensor in parameters.state(trial.method).items()},
        **{f"heads.{name}": tensor for name, tensor in parameters.state(trial.heads).items()},
        "generator": trial.generator.get_state(),
    }
    for index, state in trial.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    path = folder / f"step-{trial.step:08d}.safetensors"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
            temporary,
            metadata={
                "step": str(trial.step),
                "seconds": str(trial.seconds),
                "report": json.dumps(report),
            },
        )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    for old in _files(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def restore(trial: Trial, folder: Path) -> Restored | None:
    """Puts the trial where its last readable checkpoint left it; None, and it is untouched, where there is none."""
    for path in reversed(_files(folder)):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            continue  # damaged: the one before it is as good, an interval older
        _load(trial, tensors)
        trial.step, trial.seconds = int(metadata["step"]), float(metadata["seconds"])
        return Restored(path, json.loads(metadata.get("report", "null")))
    return None


def _load(trial: Trial, tensors: dict[str, torch.Tensor]) -> None:
    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    parameters.load_state(trial.method, under("method."))
    parameters.load_state(trial.heads, under("heads."))
    trial.generator.set_state(tensors["generator"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in under("optimizer.").items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    groups = trial.optimizer.state_dict()["param_groups"]
    trial.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"))
