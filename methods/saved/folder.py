"""Saves a trained method to a folder with `method.json` and `method.safetensors`, without pickle or code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

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
"""The form of answer of each kind of task; format 3 stored the kind instead of the form."""


class SavedError(ValueError):
    """The folder is damaged, or does not fit the model; the message says which."""


@dataclass(frozen=True)
class Saved:
    """The content of `method.json`.

    Attributes:
        method: the name of the trained method.
        config: its hyperparameters.
        form: the name of the deployed method: the same, or one without what only helps training.
        form_config: the deployed method's hyperparameters.
        tasks: the tasks in the order of the method's tables.
        model: the frozen model's hub id or folder.
        model_sha256: the sha256 of the frozen model's weights (`Backbone.fingerprint`).
        max_length: texts are cut to this many tokens.
        dtype: the number type of the frozen model; folders that do not name it have float32.
    """

    method: str
    config: dict[str, Any]
    form: str
    form_config: dict[str, Any]
    tasks: tuple[SavedTask, ...]
    model: str
    model_sha256: str
    max_length: int
    dtype: Literal["float32", "bfloat16"] = "float32"


def save(folder: Path, saved: Saved, form: Method, task_heads: nn.ModuleList) -> None:
    """Writes the folder; files of the same names are replaced.

    Args:
        folder: the folder, which is created if needed.
        saved: the content of `method.json`.
        form: the method in its deployed form (`Method.deployed`).
        task_heads: the heads in the order of the tasks.
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
        SavedError: a file is missing, damaged, or has another format.
    """
    try:
        content = json.loads((folder / "method.json").read_text(encoding="utf-8"))
        found_format = content.pop("format")
        if found_format not in (3, FORMAT):
            raise SavedError(f"{folder} has another format ({found_format}, not {FORMAT}); export it again")
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
        raise SavedError(f"{folder} has no readable method: {error}") from error
    if found != digest:
        raise SavedError(f"{folder / 'method.safetensors'} was changed after it was saved; export it again")
    return saved


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
