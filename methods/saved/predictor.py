"""Loads a saved method and predicts with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer

from methods import answers, parameters, registry
from methods.answers import label
from methods.answers.trained import SavedTask, TrainedModel
from methods.backbone.backbone import Backbone
from methods.config import MethodConfig
from methods.method import Method
from methods.registry import UnknownMethodError
from methods.saved.folder import Saved, SavedError, read


class Predictor:
    """Predicts with a saved method."""

    def __init__(self, saved: Saved, model: TrainedModel) -> None:
        self.saved = saved
        self._model = model

    def predict(self, texts: Sequence[Any], task: str | None = None) -> list[Any]:
        """Predicts the answer for each text.

        Args:
            texts: the inputs. Each is a text or a tuple of two texts; for tags a list of words, or a text that is
                split at white space; for question answering a tuple (question, context).
            task: the task's name; it may be left out if there is only one task.

        Returns:
            For each input, by the form of answer: a label; a list of labels; a number; a tag for each word (empty for
                words
            beyond the model's length); an answer (empty if there is none); or the written text.

        Raises:
            ValueError: there is no such task, or an input has the wrong form.
        """
        asked = self._task(task)
        found: list[Any] = answers.get(asked.answer).predict(self._model, texts, asked)
        return found

    def logits(self, texts: Sequence[str | tuple[str, str]], task: str | None = None) -> Tensor:
        """The logits of texts or pairs for a task on whole texts, `[len(texts), C]` float32, on the CPU.

        Args:
            texts: the texts, or tuples of two texts.
            task: the task's name; it may be left out if there is only one task.
        """
        return label.logits(self._model, texts, self._task(task))

    def columns(self, task: str | None = None) -> tuple[str, ...]:
        """The names of the inputs for one answer of a task."""
        names: tuple[str, ...] = answers.get(self._task(task).answer).COLUMNS
        return names

    def _task(self, name: str | None) -> SavedTask:
        names = [each.name for each in self.saved.tasks]
        if name is None and len(names) == 1:
            return self.saved.tasks[0]
        if name not in names:
            raise ValueError(f"task must be one of {', '.join(names)}, not {name!r}")
        return self.saved.tasks[names.index(name)]


def load(folder: Path | str, *, model: str | None = None, device: str = "cpu") -> Predictor:
    """Loads a folder that `methods.saved.folder.save` wrote.

    Args:
        folder: the folder with `method.json` and `method.safetensors`.
        model: the frozen model's folder or hub id, if it has changed since.
        device: the device to run on.

    Raises:
        SavedError: the folder is damaged, or was trained on another model.
        BackboneError: the model cannot be loaded.
    """
    folder = Path(folder)
    saved = read(folder)
    path = model or saved.model
    words_needed = any(answers.get(task.answer).needs_language_model(task.settings) for task in saved.tasks)
    dtype = getattr(torch, saved.dtype)
    backbone = Backbone.load(path, dtype=dtype, device=device, language_model=words_needed)
    if backbone.fingerprint() != saved.model_sha256:
        raise SavedError(
            f"the weights of {path} are not those that {folder} was trained on; give the right model with model=..."
        )
    try:
        tensors = load_file(folder / "method.safetensors")
        method, made = _build(saved, backbone, tensors)
        for prefix, part in (("method.", method), ("heads.", made)):
            parameters.load_state(part, _under(prefix, tensors))
    except (SafetensorError, UnknownMethodError, KeyError, TypeError, ValueError) as error:
        raise SavedError(
            f"{folder / 'method.safetensors'} does not fit {folder / 'method.json'}: {error}"
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(path)
    form = method.to(device).deployed(backbone)
    trained = TrainedModel(saved.tasks, backbone, tokenizer, form, made.to(device), saved.max_length)
    return Predictor(saved, trained)


def _build(saved: Saved, backbone: Backbone, tensors: dict[str, Tensor]) -> tuple[Method, nn.ModuleList]:
    """Makes the method and its heads; takes no memory for what the tensors do not fill.

    Raises:
        UnknownMethodError: no method has the saved one's name.
        ValueError: hyperparameters or tensors cannot be those of a trained method.
    """
    for name, tensor in tensors.items():
        if not name.startswith(("method.", "heads.")):
            raise ValueError(f"the tensor {name} is neither the method's nor a head's")
        if not (tensor.is_floating_point() and bool(tensor.isfinite().all())):
            raise ValueError(f"the tensor {name} must have finite numbers")
    module = registry.get(saved.form)
    config: MethodConfig = module.Config.from_dict(saved.form_config)
    if problems := config.problems(backbone.shape, saved.max_length):
        raise ValueError("; ".join(problems))
    with torch.device("meta"):  # shapes without memory
        parameters.check_state(module.Method(config, backbone, len(saved.tasks)), _under("method.", tensors))
    method: Method = module.Method(config, backbone, len(saved.tasks))
    used = method.own_backbone or backbone
    made = (
        answers.get(task.answer).head(config.readout, task.labels, task.settings, used)
        for task in saved.tasks
    )
    return method, nn.ModuleList(made)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
