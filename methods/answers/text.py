"""Answers with a text that is written after the given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from methods.heads import written
from methods.heads.generation import greedy
from methods.heads.heads import Head, LanguageModelHead

if TYPE_CHECKING:
    from methods.answers.trained import SavedTask, TrainedModel
    from methods.backbone.backbone import Backbone

COLUMNS = ("text",)


def needs_language_model(settings: Mapping[str, Any]) -> bool:
    return True


def head(readout: str, labels: Sequence[str], settings: Mapping[str, Any], backbone: Backbone) -> Head:
    """Makes the head: the language model's own, which is not trained."""
    return LanguageModelHead(backbone)


def predict(model: TrainedModel, given: Sequence[Any], task: SavedTask) -> list[str]:
    """Writes a text after each given one."""
    return [_written(model, text, task) for text in given]


def _written(model: TrainedModel, text: str, task: SavedTask) -> str:
    most = task.settings["max_target_length"]
    ids, _ = written.source(model.tokenizer, text, model.max_length, most, model.architecture)
    ids_1T, mask_1T, injection = model.inject(ids, None, task)
    (tokens,) = greedy(
        model.backbone,
        model.head(task),
        ids_1T,
        mask_1T,
        injection,
        end=task.settings["end"],
        max_new_tokens=most,
    )
    return str(model.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
