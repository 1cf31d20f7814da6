"""Answers with a tag for each word of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from methods.heads import words
from methods.heads.heads import Head, TokenHead

if TYPE_CHECKING:
    from methods.answers.trained import SavedTask, TrainedModel
    from methods.backbone.backbone import Backbone

COLUMNS = ("text",)


def needs_language_model(settings: Mapping[str, Any]) -> bool:
    return False


def head(readout: str, labels: Sequence[str], settings: Mapping[str, Any], backbone: Backbone) -> Head:
    """Makes the head: a linear layer on the first token of each word."""
    return TokenHead(backbone.shape.hidden_size, len(labels))


def predict(model: TrainedModel, given: Sequence[Any], task: SavedTask) -> list[list[str]]:
    """Predicts a tag for each word. Each input is a list of words, or a text that is split at white space.

    Words beyond the model's length get the tag "".
    """
    rows = [text.split() if isinstance(text, str) else list(text) for text in given]
    return [_tags(model, row, task) for row in rows]


@torch.no_grad()
def _tags(model: TrainedModel, row: Sequence[str], task: SavedTask) -> list[str]:
    ((ids, positions),) = words.encode(model.tokenizer, [row], model.max_length)
    there = [position for position in positions if position is not None]
    if not there:
        return [""] * len(positions)
    output_XC = model.run(ids, None, task, there)
    tags = iter(task.labels[int(number)] for number in output_XC.argmax(1))
    return ["" if position is None else next(tags) for position in positions]
