"""Answers with a label, several labels or a number for a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from methods.heads import written
from methods.heads.heads import Head, ModelHead, SequenceHead, VerbalizerHead

if TYPE_CHECKING:
    from methods.answers.trained import SavedTask, TrainedModel
    from methods.backbone.backbone import Backbone

COLUMNS = ("text", "text_pair")


def needs_language_model(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("verbalizer"))


def head(readout: str, labels: Sequence[str], settings: Mapping[str, Any], backbone: Backbone) -> Head:
    """Makes the head: a verbalizer's words, the head of the model's class, or a linear layer."""
    if settings.get("verbalizer"):
        return VerbalizerHead(backbone, settings["verbalizer"])
    if readout == "model":
        return ModelHead(backbone, len(labels) or 1)
    return SequenceHead(readout, backbone.shape.hidden_size, len(labels) or 1)


def predict(model: TrainedModel, given: Sequence[Any], task: SavedTask) -> list[Any]:
    """Predicts for each text or pair its label, a list of labels, or a number.

    Raises:
        ValueError: an input is no text and no pair of texts.
    """
    for text in given:
        pair = isinstance(text, tuple) and len(text) == 2
        if not (isinstance(text, str) or pair):
            raise ValueError(
                f"task {task.name} labels whole texts: each input must be one string or a tuple of two, not {text!r}"
            )
    return [_label(row_C, task) for row_C in logits(model, given, task)]


@torch.no_grad()
def logits(model: TrainedModel, given: Sequence[str | tuple[str, str]], task: SavedTask) -> Tensor:
    """The logits of each text or pair, `[len(given), C]` float32, on the CPU."""
    if task.settings.get("verbalizer"):
        return torch.cat([_word_logits(model, str(text), task) for text in given])
    return torch.cat([model.run(*_encode(model, text), task, None) for text in given])


def _word_logits(model: TrainedModel, text: str, task: SavedTask) -> Tensor:
    ids, place = written.scored(model.tokenizer, text, model.max_length, model.architecture)
    return model.run(ids, None, task, [place])


def _encode(model: TrainedModel, text: str | tuple[str, str]) -> tuple[list[int], list[int] | None]:
    """The token ids and, for a pair, the token types if the tokenizer makes them."""
    texts = (text,) if isinstance(text, str) else text
    encoded = model.tokenizer(*texts, truncation=True, max_length=model.max_length)
    return encoded["input_ids"], encoded.get("token_type_ids") if len(texts) > 1 else None


def _label(logits_C: Tensor, task: SavedTask) -> Any:
    match task.settings["problem_type"]:
        case "regression":
            return task.settings["mean"] + task.settings["deviation"] * float(logits_C[0])
        case "multi_label_classification":
            return [name for name, logit in zip(task.labels, logits_C.tolist(), strict=True) if logit > 0]
    return task.labels[int(logits_C.argmax())]
