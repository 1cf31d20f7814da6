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
from methods.backbone import Backbone
from methods.method import Method
from methods.readout import sequence_features

FORMAT = 1


class SavedError(ValueError):
    """The folder is not what `save` wrote, or does not fit the model; the message says which."""


@dataclass(frozen=True)
class SavedTask:
    """A task's name and labels, in the order of the head's outputs."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Saved:
    """What `method.json` says.

    Attributes:
        method: name of the method.
        config: its hyperparameters.
        tasks: in the order of the method's tables.
        model: hub id or folder of the frozen model.
        model_sha256: of the frozen model's weights (`Backbone.fingerprint`).
        max_length: texts are cut to this many tokens.
    """

    method: str
    config: dict[str, Any]
    tasks: tuple[SavedTask, ...]
    model: str
    model_sha256: str
    max_length: int


def save(folder: Path, saved: Saved, method: Method, heads: nn.ModuleList) -> None:
    """Writes the folder; what was there under the same names is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
    tensors |= {f"heads.{name}": tensor for name, tensor in heads.state_dict().items()}
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
        content["tasks"] = tuple(SavedTask(task["name"], tuple(task["labels"])) for task in content["tasks"])
        saved = Saved(**content)
        found = _sha256(folder / "method.safetensors")
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise SavedError(f"{folder} holds no readable method: {error}") from error
    if found != digest:
        raise SavedError(f"{folder / 'method.safetensors'} is not the file that was saved; export it again")
    return saved


class Predictor:
    """A frozen model with a trained method: text in, labels out."""

    def __init__(
        self, saved: Saved, backbone: Backbone, tokenizer: Any, method: Method, heads: nn.ModuleList
    ) -> None:
        self.saved = saved
        self._backbone = backbone
        self._tokenizer = tokenizer
        self._method = method.eval()
        self._heads = heads.eval()

    @torch.inference_mode()
    def logits(self, texts: Sequence[str], task: str | None = None) -> Tensor:
        """`[len(texts), C]` float32, on the CPU; `task` may be left out where there is only one."""
        index = self._index(task)
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self.saved.max_length)["input_ids"]
        outputs = []
        for ids in encoded:
            ids_1T = torch.tensor([ids], device=self._backbone.device)
            mask_1T = torch.ones_like(ids_1T, dtype=torch.bool)
            injection = self._method(torch.tensor([index], device=self._backbone.device))
            hidden = self._backbone.forward(ids_1T, mask_1T, injection)
            features = sequence_features(hidden, mask_1T, self.saved.config["readout"])
            outputs.append(self._heads[index](features)[0].cpu())
        return torch.stack(outputs)

    def predict(self, texts: Sequence[str], task: str | None = None) -> list[str]:
        """The most likely label of each text."""
        labels = self.saved.tasks[self._index(task)].labels
        return [labels[int(index)] for index in self.logits(texts, task).argmax(1)]

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
    module = methods.get(saved.method)
    method: Method = module.Method(module.Config(**saved.config), backbone.shape, len(saved.tasks))
    heads = nn.ModuleList(nn.Linear(backbone.shape.hidden_size, len(task.labels)) for task in saved.tasks)
    try:
        tensors = load_file(folder / "method.safetensors")
        for prefix, part in (("method.", method), ("heads.", heads)):
            part.load_state_dict(
                {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            )
    except (SafetensorError, RuntimeError) as error:
        raise SavedError(
            f"{folder / 'method.safetensors'} does not fit {folder / 'method.json'}: {error}"
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(path)
    return Predictor(saved, backbone, tokenizer, method.to(device), heads.to(device))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
