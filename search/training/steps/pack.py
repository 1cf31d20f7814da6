"""Trains several trials in one forward and backward of the frozen backbone.

A `Pack` joins the rows of its trials. Rows share nothing, so a trial trains in a pack as it would alone, up to float
error. A single trial is a pack of one. Trials of one structure form a bundle, whose operations do not grow with them.

Letters: B rows, T text tokens, H hidden width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Protocol

import torch
from torch import Tensor

from methods.backbone.injection import Injection, concatenate
from search.training.batches import collate
from search.training.steps.bundle import Bundle, structure
from search.training.steps.solo import Solo, States
from search.training.trial import Batch, DivergedError, Part, Trial

_MOST_PADDING = 1.25
"""Tasks share a forward if it has at most this many times the tokens of separate forwards."""


class Member(Protocol):
    """Trials that take their steps as one: a `Solo` or a `Bundle`."""

    trials: list[Trial]

    @property
    def needs_no_forward(self) -> bool: ...
    def inject(self, batches: Sequence[Batch]) -> Injection: ...
    def losses(
        self, batches: Sequence[Batch], parts: Sequence[Part], states: States | None, injection: Injection
    ) -> Tensor: ...
    def norms(self) -> Tensor: ...
    def update(self, norms: Sequence[float], batches: Sequence[Batch]) -> None: ...
    def forget(self) -> None: ...
    def release(self) -> None: ...


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
        self._members: list[Member] = []

    def attach(self, trial: Trial) -> None:
        """Adds a trial from the next step on.

        Raises:
            ValueError: the trial cannot share a forward with the others.
        """
        if any(other.pack_key != trial.pack_key for other in self.trials):
            raise ValueError(
                "trials of a pack must share one backbone; a trial that trains a copy, or updates layers in which its model mixes "
                "rows, needs a pack of its own"
            )
        self._release()
        self.trials.append(trial)

    def detach(self, trial: Trial) -> None:
        """Removes a trial."""
        self._release()
        self.trials.remove(trial)

    def halve(self) -> bool:
        """Halves the rows that run at once; returns False if it is one row already."""
        if self.gradient_accumulation_steps >= max(
            trial.settings.per_device_train_batch_size for trial in self.trials
        ):
            return False
        self.gradient_accumulation_steps *= 2
        return True

    def forget(self) -> None:
        """Clears what a step left that was interrupted."""
        for member in self._members:
            member.forget()

    def step(self) -> list[float | DivergedError]:
        """Takes one step of every attached trial.

        Returns:
            Each trial's loss, or the error if it cannot continue; the failure of one trial does not affect the others.
        """
        members = self._members = self._members or _members(self.trials)
        batches = [[trial.batch() for trial in member.trials] for member in members]
        injections = [member.inject(mine) for member, mine in zip(members, batches, strict=True)]
        totals = [
            torch.zeros(len(member.trials), device=self.trials[0].backbone.device) for member in members
        ]
        shares = list(_shares(batches, self.gradient_accumulation_steps))
        for number, parts in enumerate(shares):
            losses = self._losses(batches, parts, injections)
            together = torch.cat(losses)
            if together.requires_grad:
                finite = together.where(together.isfinite(), 0.0)
                # The injections' graph is used for each share, so it is kept until the last.
                finite.sum().backward(retain_graph=number + 1 < len(shares))  # type: ignore[no-untyped-call]
            totals = [total + loss.detach() for total, loss in zip(totals, losses, strict=True)]
        norms = [member.norms() for member in members]
        values = torch.stack([torch.cat(totals), torch.cat(norms)]).tolist()  # the only wait for the GPU
        return self._update(batches, *values)

    def _losses(
        self,
        batches: Sequence[Sequence[Batch]],
        parts: Sequence[Sequence[Part]],
        injections: Sequence[Injection],
    ) -> list[Tensor]:
        """Computes in one forward what the parts add to the trials' losses, `[K]` for each member."""
        injected = [
            whole.of(_places(mine, part))
            for whole, mine, part in zip(injections, batches, parts, strict=True)
        ]
        each = list(zip(self._members, batches, parts, injected, strict=True))
        states = _states([one for one in each if not one[0].needs_no_forward])
        return [
            member.losses(mine, part, None if member.needs_no_forward else next(states), injection)
            for member, mine, part, injection in each
        ]

    def _update(
        self, batches: Sequence[Sequence[Batch]], losses: Sequence[float], norms: Sequence[float]
    ) -> list[float | DivergedError]:
        """Takes the optimizers' steps; returns each trial's loss or error, in the order of `trials`."""
        found: dict[Trial, float | DivergedError] = {}
        first = 0
        for member, mine in zip(self._members, batches, strict=True):
            last = first + len(member.trials)
            for trial, loss, norm in zip(member.trials, losses[first:last], norms[first:last], strict=True):
                where = f"at step {trial.step + 1}"
                if not math.isfinite(loss):
                    found[trial] = DivergedError(f"the loss is {loss} {where}")
                elif not math.isfinite(norm):
                    found[trial] = DivergedError(f"the gradient's norm is {norm} {where}")
                else:
                    found[trial] = loss
            if any(isinstance(found[trial], float) for trial in member.trials):
                member.update(norms[first:last], mine)
            first = last
        return [found[trial] for trial in self.trials]

    def _release(self) -> None:
        for member in self._members:
            member.release()
        self._members = []


def _members(trials: Sequence[Trial]) -> list[Member]:
    """Bundles of the trials that can form one, and the others alone."""
    alike: dict[object, list[Trial]] = {}
    for trial in trials:
        alike.setdefault(structure(trial) or trial, []).append(trial)
    return [Bundle(group) if len(group) > 1 else Solo(group[0]) for group in alike.values()]


def _places(batches: Sequence[Batch], parts: Sequence[Part]) -> list[int]:
    """The places of the parts' rows among the rows of all batches."""
    starts = itertools.accumulate((len(batch.rows) for batch in batches), initial=0)
    return [start + row for start, part in zip(starts, parts, strict=False) for row in part]


def _states(
    each: Sequence[tuple[Member, Sequence[Batch], Sequence[Part], Injection]],
) -> Iterator[States]:
    """Runs the backbone on the rows of several members together; yields what it makes of each member's."""
    if not each:
        return
    backbone = each[0][0].trials[0].backbone
    rows = [
        [batch.rows[i] for batch, part in zip(batches, parts, strict=True) for i in part]
        for _, batches, parts, _ in each
    ]
    texts = collate([row for mine in rows for row in mine], backbone.device)
    injection = concatenate([injection for *_, injection in each])
    hidden_BTH = backbone.forward(texts.ids_BT, texts.mask_BT, injection, texts.types_BT, texts.written_BU)
    start = 0
    for mine in rows:
        part = slice(start, start := start + len(mine))
        yield States(hidden_BTH[part], texts.of(part))


def _shares(batches: Sequence[Sequence[Batch]], steps: int) -> Iterator[list[list[Part]]]:
    """Yields what runs in one forward: a part of each batch."""
    for tasks in _together([batch for mine in batches for batch in mine]):
        parts = [
            [[i for i, task in enumerate(batch.tasks) if task in tasks] for batch in mine] for mine in batches
        ]
        for first in range(steps):
            share = [[part[first::steps] for part in mine] for mine in parts]
            if any(part for mine in share for part in mine):
                yield share


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
