"""A text that is written after the one given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from methods.heads import written
from methods.heads.generation import greedy
from methods.heads.heads import Head, LanguageModelHead

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone
    from methods.saved.folder import SavedTask
    from methods.saved.predictor import Predictor

COLUMNS = ("text",)


def needs_language_model(settings: Mapping[str, Any]) -> bool:
    return True


def head(readout: str, labels: Sequence[str], settings: Mapping[str, Any], backbone: Backbone) -> Head:
    """The language model's own; nothing of it is trained."""
    return LanguageModelHead(backbone)


def predict(predictor: Predictor, given: Sequence[Any], task: SavedTask) -> list[str]:
    """What is written after each text."""
    return [_written(predictor, text, task) for text in given]


def _written(predictor: Predictor, text: str, task: SavedTask) -> str:
    most = task.settings["max_target_length"]
    ids, _ = written.source(
        predictor.tokenizer, text, predictor.saved.max_length, most, predictor.architecture
    )
    ids_1T, mask_1T, injection = predictor.inject(ids, None, task)
    (tokens,) = greedy(
        predictor.backbone,
        predictor.head(task),
        ids_1T,
        mask_1T,
        injection,
        end=task.settings["end"],
        max_new_tokens=most,
    )
    return str(predictor.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
