"""Trains several trials in one forward and backward of the frozen backbone.

A `Pack` joins the rows of its trials. Rows share nothing, so a trial trains in a pack as it would alone, up to float
error. A single trial is a pack of one.

Letters: B rows, T text tokens, H hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set

import torch
from torch import Tensor

from methods.backbone.injection import Injection, concatenate
from search.training.batches import collate
from search.training.trial import Batch, DivergedError, Logits, Part, Trial

_MOST_PADDING = 1.25
"""Tasks share a forward if it has at most this many times the tokens of separate forwards."""


class Pack:
    """Trials that share the forward and backward of one backbone.

    Attributes:
        trials: the attached trials.
        gradient_accumulation_steps: into how many forwards and backwards a step is split; more of them need less
            memory and give the same step.
    """

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.gradient_accumulation_steps = 1

    def attach(self, trial: Trial) -> None:
        """Adds a trial from the next step on.

        Raises:
            ValueError: the trial has another backbone than the others.
        """
        if any(other.backbone is not trial.backbone for other in self.trials):
            raise ValueError(
                "trials of a pack must share one backbone; a trial that trains a copy needs a pack of its own"
            )
        self.trials.append(trial)

    def detach(self, trial: Trial) -> None:
        """Removes a trial."""
        self.trials.remove(trial)

    def halve(self) -> bool:
        """Halves the rows that run at once; returns False if it is one row already."""
        if self.gradient_accumulation_steps >= max(
            trial.settings.per_device_train_batch_size for trial in self.trials
        ):
            return False
        self.gradient_accumulation_steps *= 2
        return True

    def step(self) -> list[float | DivergedError]:
        """Takes one step of every attached trial.

        Returns:
            Each trial's loss, or the error if it cannot continue; the failure of one trial does not affect the others.
        """
        backbone = self.trials[0].backbone
        batches = [trial.batch() for trial in self.trials]
        injections = []
        for trial, batch in zip(self.trials, batches, strict=True):
            trial.method.train()
            injections.append(trial.method(batch.method_input, backbone))
        totals = [0.0] * len(self.trials)
        shares = list(self._shares(batches))
        for number, parts in enumerate(shares):
            losses = self._losses(batches, parts, injections)
            finite = [loss for loss in losses if math.isfinite(loss.item())]
            if finite:  # the injections' graph is used once for each share, so it is kept until the last
                torch.stack(finite).sum().backward(retain_graph=number + 1 < len(shares))  # type: ignore[no-untyped-call]
            totals = [total + loss.item() for total, loss in zip(totals, losses, strict=True)]
        return [self._update(trial, total) for trial, total in zip(self.trials, totals, strict=True)]

    def _shares(self, batches: Sequence[Batch]) -> Iterator[list[Part]]:
        """Yields what runs in one forward: a part of each batch."""
        steps = self.gradient_accumulation_steps
        for tasks in _together(batches):
            parts = [[i for i, task in enumerate(batch.tasks) if task in tasks] for batch in batches]
            for first in range(steps):
                share = [part[first::steps] for part in parts]
                if any(share):
                    yield share

    def _losses(
        self, batches: Sequence[Batch], parts: Sequence[Part], injections: Sequence[Injection]
    ) -> list[Tensor]:
        """Computes in one forward what the parts add to the trials' losses."""
        injected = [whole.of(part) for whole, part in zip(injections, parts, strict=True)]
        mine = list(zip(self.trials, batches, parts, injected, strict=True))
        logits = self._logits([each for each in mine if not each[0].needs_no_forward])
        return [
            trial.loss(
                batch,
                part,
                trial.known_logits(batch, part) if trial.needs_no_forward else next(logits),
                injection,
            )
            for trial, batch, part, injection in mine
        ]

    @staticmethod
    def _logits(mine: Sequence[tuple[Trial, Batch, Part, Injection]]) -> Iterator[Logits]:
        """Runs the backbone on the rows of several trials together; yields the logits of each trial's."""
        if not mine:
            return
        backbone = mine[0][0].backbone
        texts = collate([batch.rows[i] for _, batch, part, _ in mine for i in part], backbone.device)
        injection = concatenate([each for *_, each in mine])
        hidden_BTH = backbone.forward(
            texts.ids_BT, texts.mask_BT, injection, texts.types_BT, texts.written_BU
        )
        start = 0
        for trial, _, part, _ in mine:
            rows = slice(start, start := start + len(part))
            yield trial.logits(hidden_BTH[rows], texts.of(rows))

    @staticmethod
    def _update(trial: Trial, value: float) -> float | DivergedError:
        if not math.isfinite(value):
            return DivergedError(f"the loss is {value} at step {trial.step + 1}")
        try:
            trial.update()
        except DivergedError as error:
            return error
        return value


def _together(batches: Sequence[Batch]) -> list[set[int]]:
    """Groups the tasks whose rows share a forward: all of them, or each alone if too much would be padding.

    Rows for a separate decoder never share a forward with other rows.
    """
    lengths: dict[int, list[int]] = {}
    writing: set[int] = set()
    for batch in batches:
        for task, row in zip(batch.tasks, batch.rows, strict=True):
            lengths.setdefault(task, []).append(row.length)
            if row.written is not None:
                writing.add(task)
    groups = (group for group in (lengths.keys() - writing, writing) if group)
    return [part for group in groups for part in _apart(group, lengths)]


def _apart(tasks: Set[int], lengths: Mapping[int, Sequence[int]]) -> list[set[int]]:
    apart = sum(len(lengths[task]) * max(lengths[task]) for task in tasks)
    joined = sum(len(lengths[task]) for task in tasks) * max(max(lengths[task]) for task in tasks)
    return [set(tasks)] if joined <= _MOST_PADDING * apart else [{task} for task in sorted(tasks)]
