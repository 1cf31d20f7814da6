"""Saves a trained method to a folder with `method.json` and `method.safetensors`, without pickle or code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors.torch import save_file
from torch import nn

from methods import parameters
from methods.answers.trained import SavedTask
from methods.method import Method

FORMAT = 4
_LONGEST = 300

Dtype = Literal["float32", "bfloat16"]

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
    dtype: Dtype = "float32"


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
    content = {"format": FORMAT, "sha256": sha256(path), **asdict(saved)}
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
        if not (folder / "method.safetensors").is_file():  # a pipe or a device would never end
            raise SavedError(f"{folder / 'method.safetensors'} is not a file; export it again")
        found = sha256(folder / "method.safetensors")
    except SavedError:
        raise
    except (OSError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise SavedError(f"{folder} has no readable method: {_line(error)}") from error
    if wrong := list(_wrong(saved)):
        raise SavedError(f"{folder / 'method.json'} has a value of the wrong kind: {', '.join(wrong)}")
    if found != digest:
        raise SavedError(f"{folder / 'method.safetensors'} was changed after it was saved; export it again")
    return saved


def _wrong(saved: Saved) -> Iterator[str]:
    """The names of values that nothing of ours has written: a folder may come from anywhere."""
    texts = {name: getattr(saved, name) for name in ("method", "form", "model", "model_sha256")}
    yield from (name for name, value in texts.items() if not isinstance(value, str))
    yield from (name for name in ("config", "form_config") if not isinstance(getattr(saved, name), dict))
    if type(saved.max_length) is not int or saved.max_length < 1:
        yield "max_length"
    if saved.dtype not in get_args(Dtype):
        yield "dtype"
    if not saved.tasks:
        yield "tasks"
    for task in saved.tasks:
        if not all(isinstance(text, str) for text in (task.name, *task.labels)):
            yield "labels"
        if task.answer not in _ANSWERS_OF_FORMAT_3.values():
            yield "answer"
        if not isinstance(task.settings, dict):
            yield "settings"


def _line(error: Exception) -> str:
    """An error as one line."""
    return " ".join((str(error) or type(error).__name__).split())[:_LONGEST]


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
