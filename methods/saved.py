"""A trained method as a folder: `method.json` and `method.safetensors`; no pickle, no code.

`save` writes it, `load` gives a `Predictor` that answers text with labels. It needs the frozen model's files,
and checks that they are the ones it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer

import methods
from methods import heads, parameters, words
from methods.backbone import Backbone
from methods.method import Method, Rows

FORMAT = 2


class SavedError(ValueError):
    """The folder is not what `save` wrote, or does not fit the model; the message says which."""


@dataclass(frozen=True)
class SavedTask:
    """A task's name, kind (`search/tasks/`) and labels, in the order of the head's outputs."""

    name: str
    kind: str
    labels: tuple[str, ...]


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
        if content.pop("format") != FORMAT:
            raise SavedError(f"{folder} has another format than {FORMAT}; export it again")
        digest = content.pop("sha256")
        content["tasks"] = tuple(
            SavedTask(task["name"], task["kind"], tuple(task["labels"])) for task in content["tasks"]
        )
        saved = Saved(**content)
        found = _sha256(folder / "method.safetensors")
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise SavedError(f"{folder} holds no readable method: {error}") from error
    if found != digest:
        raise SavedError(f"{folder / 'method.safetensors'} is not the file that was saved; export it again")
    return saved


class Predictor:
    """A frozen model with a trained method: texts in, labels out."""

    def __init__(
        self, saved: Saved, backbone: Backbone, tokenizer: Any, method: Method, task_heads: nn.ModuleList
    ) -> None:
        self.saved = saved
        self._backbone = backbone
        self._tokenizer = tokenizer
        self._method = method.eval()
        self._heads = task_heads.eval()

    @torch.no_grad()
    def logits(self, texts: Sequence[str], task: str | None = None) -> Tensor:
        """Of a task of whole texts, `[len(texts), C]` float32, on the CPU; `task` may be left out where there is only one."""
        index = self._index(task)
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self.saved.max_length)["input_ids"]
        return torch.cat([self._logits(ids, index, None) for ids in encoded])

    def predict(
        self, texts: Sequence[str | Sequence[str]], task: str | None = None
    ) -> list[str] | list[list[str]]:
        """The most likely label of each text; of a task of words, a label for each word.

        Args:
            texts: each a text; for a task of words a list of words, or a text that is split at blanks.
            task: its name; may be left out where there is only one.

        Returns:
            A label for each text, or a list of labels, empty for words beyond the model's length.
        """
        saved_task = self.saved.tasks[self._index(task)]
        if saved_task.kind == "token_classification":
            rows = [text.split() if isinstance(text, str) else list(text) for text in texts]
            return [self._tags(row, saved_task) for row in rows]
        whole = [text for text in texts if isinstance(text, str)]
        if len(whole) < len(texts):
            raise ValueError(
                f"task {saved_task.name} labels whole texts: each must be one string, not a list"
            )
        return [saved_task.labels[int(number)] for number in self.logits(whole, task).argmax(1)]

    @torch.no_grad()
    def _tags(self, row: Sequence[str], task: SavedTask) -> list[str]:
        ((ids, positions),) = words.encode(self._tokenizer, [row], self.saved.max_length)
        there = [position for position in positions if position is not None]
        if not there:
            return [""] * len(positions)
        output_XC = self._logits(ids, self._index(task.name), there)
        tags = iter(task.labels[int(number)] for number in output_XC.argmax(1))
        return ["" if position is None else next(tags) for position in positions]

    def _logits(self, ids: Sequence[int], index: int, read: Sequence[int] | None) -> Tensor:
        """`[places read, C]`, on the CPU, of one text."""
        ids_1T = torch.tensor([list(ids)], device=self._backbone.device)
        mask_1T = torch.ones_like(ids_1T, dtype=torch.bool)
        read_1T = torch.zeros_like(mask_1T)
        if read is not None:
            read_1T[0, list(read)] = True
        output: Tensor = self._heads[index](self._hidden(ids_1T, mask_1T, index), mask_1T, read_1T)
        return output.cpu()

    def _hidden(self, ids_BT: Tensor, mask_BT: Tensor, index: int) -> Tensor:
        """Hidden states `[B, T, H]` of texts of the task of number `index`."""
        query = self._method.query
        query_BH = None if query is None else self._backbone.features(ids_BT, mask_BT, query)
        rows = Rows(torch.full((len(ids_BT),), index, device=ids_BT.device), query_BH)
        backbone = self._method.own_backbone or self._backbone
        return backbone.forward(ids_BT, mask_BT, self._method(rows, backbone))

    def _index(self, task: str | None) -> int:
        names = [each.name for each in self.saved.tasks]
        if task is None and len(names) == 1:
            return 0
        if task not in names:
            raise ValueError(f"task must be one of {', '.join(names)}, not {task!r}")
        return names.index(task)


def load(folder: Path | str, *, model: str | None = None, device: str = "cpu") -> Predictor:
    """Loads what `save` wrote.

    Args:
        folder: with `method.json` and `method.safetensors`.
        model: where the frozen model is, if not where it was.
        device: of the model.

    Raises:
        SavedError: the folder is damaged, or the model is another one.
        BackboneError: the model cannot be loaded.
    """
    folder = Path(folder)
    saved = read(folder)
    path = model or saved.model
    backbone = Backbone.load(path, device=device)
    if backbone.fingerprint() != saved.model_sha256:
        raise SavedError(f"the weights of {path} are not those that {folder} was trained on")
    module = methods.get(saved.form)
    method: Method = module.Method(module.Config(**saved.form_config), backbone, len(saved.tasks))
    readout, used = saved.form_config["readout"], method.own_backbone or backbone
    made = nn.ModuleList(heads.make(task.kind, readout, len(task.labels), used) for task in saved.tasks)
    try:
        tensors = load_file(folder / "method.safetensors")
        for prefix, part in (("method.", method), ("heads.", made)):
            mine = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
            parameters.load_state(part, mine)
    except (SafetensorError, ValueError) as error:
        raise SavedError(
            f"{folder / 'method.safetensors'} does not fit {folder / 'method.json'}: {error}"
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(path)
    return Predictor(saved, backbone, tokenizer, method.to(device), made.to(device))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
