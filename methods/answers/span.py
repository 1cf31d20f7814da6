"""Answers a question with a span of its context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from methods.heads import spans
from methods.heads.heads import Head, TokenHead

if TYPE_CHECKING:
    from methods.answers.trained import SavedTask, TrainedModel
    from methods.backbone.backbone import Backbone

COLUMNS = ("question", "context")


def needs_language_model(settings: Mapping[str, Any]) -> bool:
    return False


def head(readout: str, labels: Sequence[str], settings: Mapping[str, Any], backbone: Backbone) -> Head:
    """Makes the head: a linear layer that scores each token as start and as end."""
    return TokenHead(backbone.shape.hidden_size, 2)


def predict(model: TrainedModel, given: Sequence[Any], task: SavedTask) -> list[str]:
    """Predicts the answer to each (question, context); empty if there is none."""
    return [_answer(model, question, context, task) for question, context in given]


@torch.no_grad()
def _answer(model: TrainedModel, question: str, context: str, task: SavedTask) -> str:
    settings = task.settings
    found = spans.windows(
        model.tokenizer,
        [question.strip()],
        [context],
        max_length=model.max_length,
        doc_stride=settings["doc_stride"],
    )
    logits = [model.run(w.input_ids, w.token_type_ids, task, w.read) for w in found]
    (answer,) = spans.answers(
        found,
        logits,
        [context],
        max_answer_length=settings["max_answer_length"],
        unanswerable=settings["unanswerable"],
    )
    return answer
