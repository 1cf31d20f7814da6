"""A trial's checkpoint: one safetensors file, from which it goes on exactly as it would have.

The last two are kept, so that one that the disk has damaged costs one evaluation interval, not the trial.
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
    """A checkpoint that a trial goes on from, by its path or URI, and what was to be reported of it."""

    path: str
    report: Report | None


def save(trial: Trial, folder: CheckpointFolder, report: Report | None = None) -> str:
    """Writes `step-N.safetensors` and removes all but the last two.

    Args:
        trial: at its present step.
        folder: of its checkpoints.
        report: what will be reported of it: the process may end before it is.

    Returns:
        The file's path or URI.

    Raises:
        CheckpointFolderError: it cannot be written; the one before it is as it was.
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
    for old in folder.names()[:-_KEPT]:
        folder.remove(old)
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
            continue  # damaged: the one before it is as good, an interval older
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
