"""Trials that share one forward and backward of the frozen backbone.

A `Pack` joins the rows of the trials attached to it. Nothing is shared between rows, so a trial trains in a pack as it would
alone, up to float error; a trial alone is a pack of one.

Letters: B rows, T text tokens, H hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set

import torch
from torch import Tensor

from methods.backbone.injection import Injection, concatenate
from search.training.batches import collate
from search.training.trial import Batch, DivergedError, Part, Trial

_MOST_PADDING = 1.25
"""Tokens of a forward of several tasks, in those of a forward of each."""


class Pack:
    """Trials that share the forward and backward of one backbone.

    Attributes:
        trials: those attached.
        gradient_accumulation_steps: forwards and backwards of a step, each of a share of its rows; more of them need less
            memory, and make the same step.
    """

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.gradient_accumulation_steps = 1

    def attach(self, trial: Trial) -> None:
        """The trial takes part from the next step on.

        Raises:
            ValueError: it trains on another backbone than the others.
        """
        if any(other.backbone is not trial.backbone for other in self.trials):
            raise ValueError(
                "trials of a pack share one backbone; one that trains a copy needs a pack of its own"
            )
        self.trials.append(trial)

    def detach(self, trial: Trial) -> None:
        """The trial takes no further part."""
        self.trials.remove(trial)

    def halve(self) -> bool:
        """Takes half as many rows at once from now on; False where it is one already."""
        if self.gradient_accumulation_steps >= max(
            trial.settings.per_device_train_batch_size for trial in self.trials
        ):
            return False
        self.gradient_accumulation_steps *= 2
        return True

    def step(self) -> list[float | DivergedError]:
        """One step of every attached trial.

        Returns:
            Each trial's loss, or why it cannot go on; one trial's failure leaves the others as they are.
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
            if finite:  # the injections' own graph is gone through once for each share
                torch.stack(finite).sum().backward(retain_graph=number + 1 < len(shares))  # type: ignore[no-untyped-call]
            totals = [total + loss.item() for total, loss in zip(totals, losses, strict=True)]
        return [self._update(trial, total) for trial, total in zip(self.trials, totals, strict=True)]

    def _shares(self, batches: Sequence[Batch]) -> Iterator[list[Part]]:
        """What goes through the backbone at once: of each batch, a part."""
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
        """What the parts add to the trials' losses, by one forward of the backbone."""
        backbone = self.trials[0].backbone
        injected = [whole.of(part) for whole, part in zip(injections, parts, strict=True)]
        rows = [batch.rows[i] for batch, part in zip(batches, parts, strict=True) for i in part]
        texts = collate(rows, backbone.device)
        hidden_BTH = backbone.forward(
            texts.ids_BT, texts.mask_BT, concatenate(injected), texts.types_BT, texts.written_BU
        )
        losses, start = [], 0
        for trial, batch, part, injection in zip(self.trials, batches, parts, injected, strict=True):
            mine = slice(start, start := start + len(part))
            losses.append(trial.loss(batch, part, hidden_BTH[mine], texts.of(mine), injection))
        return losses

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
    """The tasks whose rows share a forward: all, unless too much of it would be padding; then each has one of its own. Rows
    that a decoder of their own writes after are never with others."""
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
