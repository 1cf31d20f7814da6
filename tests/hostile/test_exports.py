"""Folders of a trained method that somebody has changed: each is refused with what is wrong, and nothing in it is executed."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import methods
from methods.backbone.loading import BackboneError
from methods.saved.folder import SavedError, sha256
from tests.methods.test_saved import write

Change = Callable[[Path], None]


class Bomb:
    """A pickle that writes a file where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> Any:
        return os.mkdir, (self._mark,)


def said(**changes: Any) -> Change:
    """Other values in method.json; None takes a key away."""

    def change(folder: Path) -> None:
        path = folder / "method.json"
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))

    return change


def configured(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / "method.json").read_text())
        said(form_config=content["form_config"] | changes)(folder)

    return change


def task(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        first, *others = json.loads((folder / "method.json").read_text())["tasks"]
        said(tasks=[first | changes, *others])(folder)

    return change


def written(text: str | bytes) -> Change:
    """method.json as a whole."""
    return lambda folder: void(
        (folder / "method.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    )


def stored(data: bytes) -> Change:
    """Other bytes for the tensors, with their right sha256."""

    def change(folder: Path) -> None:
        path = folder / "method.safetensors"
        path.unlink()
        path.write_bytes(data)
        said(sha256=sha256(path))(folder)

    return change


def tensors(edit: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Other tensors, with their right sha256."""

    def change(folder: Path) -> None:
        path = folder / "method.safetensors"
        content = load_file(path)
        edit(content)
        save_file(content, path)
        said(sha256=sha256(path))(folder)

    return change


def header(content: Any, length: int | None = None) -> bytes:
    """A safetensors file with this header and no data."""
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def replaced(make: Callable[[Path], object]) -> Change:
    """Something else where the tensors' file was."""

    def change(folder: Path) -> None:
        path = folder / "method.safetensors"
        path.unlink()
        make(path)

    return change


def void(_: object) -> None:
    """Nothing: a lambda that only acts."""


PROMPT = "method.prompt"
CHANGES: dict[str, Change] = {
    "no file of tensors": lambda folder: (folder / "method.safetensors").unlink(),
    "a folder for tensors": replaced(lambda path: path.mkdir()),
    "a pipe that never ends": replaced(lambda path: os.mkfifo(path)),
    "a link to a device that never ends": replaced(lambda path: path.symlink_to("/dev/zero")),
    "other tensors, same hash": replaced(lambda path: path.write_bytes(header({}))),
    "a header longer than any file": stored(header({}, 2**62)),
    "a header that is a list": stored(header([])),
    "tensors beyond the file": stored(
        header({PROMPT: {"dtype": "F32", "shape": [2, 5, 32], "data_offsets": [0, 1280]}})
    ),
    "tensors of no size": stored(
        header({PROMPT: {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 0]}})
    ),
    "no tensors": stored(b""),
    "a tensor that nobody knows": tensors(lambda t: t.update(evil=torch.zeros(3))),
    "a tensor less": tensors(lambda t: t.pop(PROMPT)),
    "a tensor of another shape": tensors(lambda t: t.update({PROMPT: torch.zeros(2, 6, 32)})),
    "a tensor of whole numbers": tensors(lambda t: t.update({PROMPT: torch.zeros(2, 5, 32, dtype=torch.int64)})),
    "a tensor with no number": tensors(lambda t: t.update({PROMPT: torch.full((2, 5, 32), torch.nan)})),
    "a tensor with infinity": tensors(lambda t: t.update({PROMPT: torch.full((2, 5, 32), torch.inf)})),
    "JSON of nothing": written(""),
    "JSON that is a list": written("[]"),
    "JSON that is a text": written('"format"'),
    "JSON that is a number": written("4"),
    "JSON nested deeply": written('{"format": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "JSON with a number of 5,000 digits": written('{"format": ' + "9" * 5000 + "}"),
    "JSON in another encoding": written('{"format": 4}'.encode("utf-16")),
    "zeros for JSON": written(bytes(1000)),
    "no format": said(format=None),
    "a format of tomorrow": said(format=5),
    "no hash": said(sha256=None),
    "a setting that nobody knows": said(evil=1),
    "a method that nobody knows": said(form="../../evil"),
    "a method that is a module": said(form="os"),
    "a method that is a number": said(form=7),
    "no tasks": said(tasks=[]),
    "tasks that are a text": said(tasks="abc"),
    "a task less": lambda folder: said(tasks=json.loads((folder / "method.json").read_text())["tasks"][:1])(folder),
    "a form of answer that nobody knows": task(answer="os.system"),
    "labels that are numbers": task(labels=[1, 2, 3]),
    "labels that are a number": task(labels=10**12),
    "a label more": task(labels=["a", "b", "c", "d"]),
    "settings that are a list": task(settings=[]),
    "a length below nothing": said(max_length=-1),
    "a length of a text": said(max_length="eight"),
    "a number type that is a function": said(dtype="load"),
    "a model that is a number": said(model=3),
    "a model that is not there": said(model="/nowhere/at/all"),
    "another model's weights": said(model_sha256="0" * 64),
    "a prompt for all the memory": configured(num_virtual_tokens=10**13),
    "a prompt of less than nothing": configured(num_virtual_tokens=-5),
    "a prompt as long as a text": configured(num_virtual_tokens="5 tokens"),
    "a prompt that is not a number": configured(num_virtual_tokens=float("nan")),
    "a hyperparameter that nobody knows": configured(evil=1),
    "a readout that nobody knows": configured(readout="__class__"),
    "hyperparameters that are a list": said(form_config=[]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.timeout(60)
def test_a_foreign_folder_is_refused(name: str, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write("prompt_tuning", model, folder)
    CHANGES[name](folder)
    with pytest.raises((SavedError, BackboneError)) as caught:
        methods.load(folder)
    message = str(caught.value)
    assert len(message) < 500
    assert message.isprintable(), message


COUNTS = [
    (name, field)
    for name in methods.names()
    for field, described in methods.get(name).Config.fields().items()
    if type(described.default) is int and field != "lora_alpha"  # which scales, and counts nothing
]


@pytest.mark.parametrize(("name", "field"), COUNTS)
@pytest.mark.timeout(60)
def test_no_memory_is_taken_for_what_is_not_there(name: str, field: str, model: Path, tmp_path: Path) -> None:
    write(name, model, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "method.json").read_text())
    if field not in content["form_config"]:
        pytest.skip("only in training")
    for count in (10**9, 10**13, 10**40):
        configured(**{field: count})(tmp_path / "out")
        with pytest.raises(SavedError, match="does not fit"):
            methods.load(tmp_path / "out")


def test_nothing_beside_the_two_files_is_read(model: Path, tmp_path: Path) -> None:
    """Neither pickles, which run what they like, nor code, with names under which other libraries look for them."""
    folder, mark = tmp_path / "out", tmp_path / "mark"
    write("prompt_tuning", model, folder)
    expected = methods.load(folder).predict(["w9 w10"], "topics")
    bomb = pickle.dumps(Bomb(mark))
    for name in ("pytorch_model.bin", "adapter_model.bin", "method.pt", "method.pkl", "optimizer.pt"):
        (folder / name).write_bytes(bomb)
    for name in ("__init__.py", "conftest.py", "method.py", "modeling_evil.py", "sitecustomize.py"):
        (folder / name).write_text(f"import os; os.mkdir({str(mark)!r})")
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_evil.Evil"}}')
    assert methods.load(folder).predict(["w9 w10"], "topics") == expected
    assert not mark.exists()


@pytest.mark.parametrize("given", ["weights", "code"])
def test_a_foreign_model_runs_nothing(given: str, model: Path, tmp_path: Path) -> None:
    """A folder may name any model; its pickled weights and its own code are refused."""
    folder, mark = tmp_path / "out", tmp_path / "mark"
    write("prompt_tuning", model, folder)
    if given == "weights":
        (model / "model.safetensors").unlink()
        (model / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    else:
        settings = json.loads((model / "config.json").read_text())
        settings |= {
            "model_type": "evil",
            "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
        }
        (model / "config.json").write_text(json.dumps(settings))
        (model / "evil.py").write_text(f"import os; os.mkdir({str(mark)!r})")
    with pytest.raises(BackboneError):
        methods.load(folder)
    assert not mark.exists()
