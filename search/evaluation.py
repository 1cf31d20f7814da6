"""How well a trial answers a split: its outputs without gradients, in larger batches, and what the task makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean

import torch
from torch import Tensor

from methods.backbone import Backbone
from methods.heads import Head
from methods.method import Rows
from search import features
from search.batches import by_length, collate
from search.config import Objective
from search.tasks import Evaluation, Split
from search.training import Trial


def evaluate(trial: Trial, index: int, split: Split, shared: Backbone, batch_size: int) -> Evaluation:
    """Scores a split of the task of number `index`; see `predict`."""
    return trial.tasks[index].evaluate(split, predict(trial, index, split, shared, batch_size))


@torch.no_grad()
def predict(trial: Trial, index: int, split: Split, shared: Backbone, batch_size: int) -> list[Tensor]:
    """Logits of a split of the task of number `index`.

    Args:
        trial: with the method and the heads.
        index: of the task.
        split: its rows.
        shared: the frozen backbone.
        batch_size: rows of a forward.

    Returns:
        Of each row, in their order, `[places read, C]` float32, on the CPU.
    """
    trial.method.eval()
    backbone, head = trial.backbone, trial.heads[index]
    assert isinstance(head, Head)
    query_RH = None if trial.method.query is None else features.of(split, shared, trial.method.query)
    logits: list[Tensor] = [torch.empty(0)] * len(split)
    for numbers in by_length(split.rows, batch_size):
        rows = [split.rows[number] for number in numbers]
        texts = collate(rows, backbone.device)
        query_BH = None if query_RH is None else query_RH[numbers].to(backbone.device)
        told = Rows(torch.full((len(rows),), index, device=backbone.device), query_BH)
        injection = trial.method(told, backbone)
        hidden_BTH = backbone.forward(texts.ids_BT, texts.mask_BT, injection, texts.types_BT)
        output_XC = head(hidden_BTH, texts.mask_BT, texts.read_BT).cpu()
        for number, output in zip(numbers, output_XC.split([row.places for row in rows]), strict=True):
            logits[number] = output
    return logits


def overall(scores: Mapping[str, float], objective: Objective) -> float:
    """The score of a configuration, from that of each task: their mean, or the worst."""
    return mean(scores.values()) if objective == "mean" else min(scores.values())
