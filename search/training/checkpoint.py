"""Saves and restores a trial's checkpoint, one safetensors file from which it continues exactly as before.

The last two are kept while it runs, so that a damaged file costs only one evaluation interval.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from methods import parameters
from search.config.places import under
from search.job import Report
from search.training.checkpoint_folder import CheckpointFolder
from search.training.trial import Trial

_KEPT = 2


class Restored(NamedTuple):
    """A restored checkpoint: its path or URI, and the report that belongs to it."""

    path: str
    report: Report | None


def save(trial: Trial, folder: CheckpointFolder, report: Report | None = None) -> str:
    """Writes `step-N.safetensors` and removes all but the last two.

    Args:
        trial: the trial at its present step.
        folder: the folder of its checkpoints.
        report: the report of this step; it is saved too, since the process may end before it is sent.

    Returns:
        The file's path or URI.

    Raises:
        CheckpointFolderError: the file cannot be written; earlier checkpoints are unchanged.
    """
    tensors = {
        **{f"method.{name}": tensor for name, tensor in parameters.state(trial.method).items()},
        **{f"heads.{name}": tensor for name, tensor in parameters.state(trial.heads).items()},
        "generator": trial.generator.get_state(),
    }
    for index, state in trial.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    content = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    kept = None if report is None else report.to_result()
    facts = {"step": str(trial.step), "seconds": str(trial.seconds), "report": json.dumps(kept)}
    written = folder.write(
        f"step-{trial.step:08d}.safetensors", lambda path: save_file(content, path, metadata=facts)
    )
    folder.keep(_KEPT)
    return written


def restore(trial: Trial, folder: CheckpointFolder) -> Restored | None:
    """Restores the latest readable checkpoint; returns None and changes nothing if there is none.

    Raises:
        CheckpointFolderError: the folder cannot be read.
    """
    for name in reversed(folder.names()):
        try:
            with folder.reading(name) as path, safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            continue  # damaged: take the one before it
        _load(trial, tensors)
        trial.step, trial.seconds = int(metadata["step"]), float(metadata["seconds"])
        kept = json.loads(metadata.get("report", "null"))
        return Restored(under(folder.place, name), None if kept is None else Report.from_result(kept))
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
