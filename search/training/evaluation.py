"""Evaluates a trial on a split, without gradients and in larger batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev

import torch
from torch import Tensor

from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.heads.generation import greedy
from methods.heads.heads import Head, LinearHead
from methods.method import Rows
from search.config.study_config import Objective
from search.tasks import Evaluation, Split
from search.training import frozen_features
from search.training.batches import Texts, by_length, collate
from search.training.trial import Trial


def evaluate(trial: Trial, index: int, split: Split, shared: Backbone, batch_size: int) -> Evaluation:
    """Scores a split of one task; the arguments are those of `predict`."""
    task = trial.tasks[index]
    sources = task.sources(split)
    written = None if sources is None else write(trial, index, sources, shared, batch_size)
    return task.evaluate(split, predict(trial, index, split, shared, batch_size), written)


def predict(trial: Trial, index: int, split: Split, shared: Backbone, batch_size: int) -> list[Tensor]:
    """Computes for each row of a split what the task keeps of its logits (`Task.keep`), on the CPU.

    Args:
        trial: the trial, with its method and heads.
        index: the task's index.
        split: the rows.
        shared: the frozen backbone.
        batch_size: the number of rows in a forward.
    """
    kept: list[Tensor] = [torch.empty(0)] * len(split)
    task = trial.tasks[index]
    for numbers, output_XC in _outputs(trial, index, split, shared, batch_size):
        rows = [split.rows[number] for number in numbers]
        for number, row, output in zip(
            numbers, rows, torch.split(output_XC, [row.places for row in rows]), strict=True
        ):
            kept[number] = task.keep(output, row).cpu()
    return kept


@torch.no_grad()
def _outputs(
    trial: Trial, index: int, split: Split, shared: Backbone, batch_size: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Yields row numbers and the head's logits of these rows, `[X, C]`."""
    head, backbone = trial.heads[index], trial.backbone
    if trial.reads_frozen_features:
        assert isinstance(head, LinearHead)
        known = frozen_features.read_features(split, backbone, head)
        for numbers in by_length(split.rows, batch_size):
            yield numbers, head.answer(known.of(numbers).to(backbone.device))
        return
    for numbers, texts, injection in _batches(trial, index, split, shared, batch_size):
        hidden_BTH = backbone.forward(
            texts.ids_BT, texts.mask_BT, injection, texts.types_BT, texts.written_BU
        )
        yield numbers, head(hidden_BTH, texts.mask_BT, texts.read_BT)


def write(trial: Trial, index: int, sources: Split, shared: Backbone, batch_size: int) -> list[list[int]]:
    """Writes a text after each source and returns its token ids; the arguments are those of `predict`."""
    task, head = trial.tasks[index], trial.heads[index]
    assert isinstance(head, Head)
    written: list[list[int]] = [[]] * len(sources)
    for numbers, texts, injection in _batches(trial, index, sources, shared, batch_size):
        found = greedy(
            trial.backbone,
            head,
            texts.ids_BT,
            texts.mask_BT,
            injection,
            end=task.settings["end"],
            max_new_tokens=task.settings["max_target_length"],
        )
        for number, tokens in zip(numbers, found, strict=True):
            written[number] = tokens
    return written


@torch.no_grad()
def _batches(
    trial: Trial, index: int, split: Split, shared: Backbone, batch_size: int
) -> Iterator[tuple[list[int], Texts, Injection]]:
    """Yields the batches of a split: row numbers, texts, and the injection."""
    trial.method.eval()
    device = trial.backbone.device
    query_RH = (
        None
        if trial.method.query is None
        else frozen_features.query_features(split, shared, trial.method.query)
    )
    for numbers in by_length(split.rows, batch_size):
        query_BH = None if query_RH is None else query_RH[numbers].to(device)
        told = Rows(torch.full((len(numbers),), index, device=device), query_BH)
        texts = collate([split.rows[number] for number in numbers], device)
        yield numbers, texts, trial.method(told, trial.backbone)


def overall(scores: Mapping[str, float], objective: Objective) -> float:
    """The score over all tasks: their mean or the worst."""
    return mean(scores.values()) if objective == "mean" else min(scores.values())


def standard_error(found: Mapping[str, Evaluation], objective: Objective) -> float | None:
    """The standard error of the score over all tasks, over the rows that their splits could have; groups do not count.

    None if a metric has no value for each example.
    """
    errors = {name: _error(each.examples) for name, each in found.items()}
    known = [error for error in errors.values() if error is not None]
    if len(known) < len(errors):
        return None
    if objective == "mean":
        return math.hypot(*known) / len(known)
    return errors[min(found, key=lambda name: found[name].score)]


def _error(examples: Sequence[float] | None) -> float | None:
    if examples is None or len(examples) < 2:
        return None
    return stdev(examples) / math.sqrt(len(examples))
