"""A trained method as a folder: `method.json` and `method.safetensors`; no pickle, no code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from methods import parameters
from methods.answers.trained import SavedTask
from methods.method import Method

FORMAT = 4

_ANSWERS_OF_FORMAT_3 = {
    "sequence_classification": "label",
    "token_classification": "tags",
    "question_answering": "span",
    "text_generation": "text",
}
"""Format 3 had a task's kind instead of its form of answer."""


class SavedError(ValueError):
    """The folder is not what `save` wrote, or does not fit the model; the message says which."""


@dataclass(frozen=True)
class Saved:
    """What `method.json` says.

    Attributes:
        method: name of the method that was trained.
        config: its hyperparameters.
        form: name of the method that is deployed: the same, or one without what only helps training.
        form_config: its hyperparameters.
        tasks: in the order of the method's tables.
        model: hub id or folder of the frozen model.
        model_sha256: of the frozen model's weights (`Backbone.fingerprint`).
        max_length: texts are cut to this many tokens.
    """

    method: str
    config: dict[str, Any]
    form: str
    form_config: dict[str, Any]
    tasks: tuple[SavedTask, ...]
    model: str
    model_sha256: str
    max_length: int


def save(folder: Path, saved: Saved, form: Method, task_heads: nn.ModuleList) -> None:
    """Writes the folder; what was there under the same names is replaced.

    Args:
        folder: made if need be.
        saved: what to say of it.
        form: the method in the form that is deployed (`Method.deployed`).
        task_heads: of the tasks, in their order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"method.{name}": tensor for name, tensor in parameters.state(form).items()}
    tensors |= {f"heads.{name}": tensor for name, tensor in parameters.state(task_heads).items()}
    path = folder / "method.safetensors"
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    content = {"format": FORMAT, "sha256": _sha256(path), **asdict(saved)}
    (folder / "method.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Saved:
    """Reads `method.json` and checks the tensors' sha256.

    Raises:
        SavedError: a file is missing, damaged, or of another format.
    """
    try:
        content = json.loads((folder / "method.json").read_text(encoding="utf-8"))
        found_format = content.pop("format")
        if found_format not in (3, FORMAT):
            raise SavedError(f"{folder} has another format than {FORMAT}; export it again")
        digest = content.pop("sha256")
        content["tasks"] = tuple(
            SavedTask(
                task["name"],
                task["answer"] if found_format == FORMAT else _ANSWERS_OF_FORMAT_3[task["kind"]],
                tuple(task["labels"]),
                task["settings"],
            )
            for task in content["tasks"]
        )
        saved = Saved(**content)
        found = _sha256(folder / "method.safetensors")
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise SavedError(f"{folder} holds no readable method: {error}") from error
    if found != digest:
        raise SavedError(f"{folder / 'method.safetensors'} is not the file that was saved; export it again")
    return saved


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
