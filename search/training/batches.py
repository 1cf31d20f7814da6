"""Chooses the rows of each training step, and turns rows into tensors.

A batch has rows of every task, in proportion to the task's share. Rows of similar length share a batch, to save
padding: each epoch is shuffled, cut into stretches of `_STRETCH` batches, sorted by length within each stretch, and
its batches are shuffled again. The order depends only on (seed, step), so a resumed trial continues with the rows it
would have seen.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from search.tasks import Row

_STRETCH = 16


class BatchOrder:
    """The batches of a trial: for each step its rows, as (task, row).

    Args:
        lengths: for each task, the number of tokens of each row.
        batch_size: the number of rows in a batch.
        seed: the seed of the shuffling.
        exponent: a task's share is its number of rows to this power: 1 is proportional, 0 is equal (Raffel et al.,
            2020, section 3.5.2; it is the inverse of the temperature).
    """

    def __init__(
        self, lengths: Sequence[Sequence[int]], batch_size: int, seed: int, exponent: float = 1.0
    ) -> None:
        weights: list[float] = [len(task) ** exponent for task in lengths]
        ends = [end / sum(weights) for end in itertools.accumulate(weights)]
        self._ends: list[float] = [0.0, *ends[:-1], 1.0]
        self._batch_size = batch_size
        self._streams = [
            _Stream(task, max(1, round(batch_size * weight / sum(weights))), f"{seed}/{number}")
            for number, (task, weight) in enumerate(zip(lengths, weights, strict=True))
        ]

    def __getitem__(self, step: int) -> list[tuple[int, int]]:
        """The rows of the batch of `step`, counted from 0."""
        return [
            (task, self._streams[task][position])
            for task in range(len(self._streams))
            for position in range(self._before(task, step), self._before(task, step + 1))
        ]

    def _before(self, task: int, step: int) -> int:
        """How many rows of a task come before a step; the rows of all tasks add up to whole batches."""
        rows = step * self._batch_size
        return math.floor(rows * self._ends[task + 1]) - math.floor(rows * self._ends[task])


class _Stream:
    """The endless sequence of one task's rows, epoch after epoch."""

    def __init__(self, lengths: Sequence[int], size: int, seed: str) -> None:
        self._lengths = lengths
        self._size = size
        self._seed = seed
        # Each stream has its own cache: a shared one would drop each epoch before its next use.
        self._epoch = functools.lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, len(self._lengths))
        return self._epoch(epoch)[place]

    def _shuffled(self, epoch: int) -> list[int]:
        """The rows of an epoch in their shuffled order."""
        draw = random.Random(f"{self._seed}/{epoch}")
        rows = list(range(len(self._lengths)))
        draw.shuffle(rows)
        # First come the rows that complete the last epoch's open batch, and last the rows of a batch that the next
        # epoch will complete. All batches between are whole, so that no batch mixes rows of two sorted batches.
        begun = min(-epoch * len(rows) % self._size, len(rows))
        batches = []
        for start in range(begun, len(rows), _STRETCH * self._size):
            stretch = sorted(rows[start : start + _STRETCH * self._size], key=lambda row: self._lengths[row])
            batches += [stretch[i : i + self._size] for i in range(0, len(stretch), self._size)]
        left = [batches.pop()] if batches and len(batches[-1]) < self._size else []
        draw.shuffle(batches)
        return [row for batch in (rows[:begun], *batches, *left) for row in batch]


def by_length(rows: Sequence[Row], batch_size: int) -> list[list[int]]:
    """Row numbers in batches of similar length, the longest first, so that memory runs out at once or never."""
    order = sorted(range(len(rows)), key=lambda number: -rows[number].length)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


class Texts(NamedTuple):
    """Rows as tensors.

    Attributes:
        ids_BT: int64, token ids, padded on the right with 0 to the longest text. Padding is masked everywhere, so its
            token does not matter.
        mask_BT: bool, False at padding.
        read_BT: bool, True at positions that the head reads; `[B, 1 + U]` if there is `written_BU`.
        types_BT: int64, token types; None if all are 0.
        written_BU: int64, the tokens that an encoder-decoder's decoder gets after its start token, padded on the
            right; None if it gets none.
    """

    ids_BT: Tensor
    mask_BT: Tensor
    read_BT: Tensor
    types_BT: Tensor | None
    written_BU: Tensor | None = None

    def of(self, rows: slice) -> Texts:
        """The tensors of some of the rows."""
        types_BT = None if self.types_BT is None else self.types_BT[rows]
        written_BU = None if self.written_BU is None else self.written_BU[rows]
        return Texts(self.ids_BT[rows], self.mask_BT[rows], self.read_BT[rows], types_BT, written_BU)


def without_targets(rows: Sequence[Row]) -> list[Row]:
    """The rows without the texts to be written after them."""
    return [Row(row.input_ids[: row.source_length], [], token_type_ids=row.token_type_ids) for row in rows]


def collate(rows: Sequence[Row], device: torch.device) -> Texts:
    """Turns rows into tensors on a device. Either all rows have tokens for a separate decoder, or none has."""
    most = max(len(row.input_ids) for row in rows)
    width, written_BU = most, None
    if any(row.written is not None for row in rows):
        longest = max(len(row.written or ()) for row in rows)
        width, written_BU = 1 + longest, _padded([row.written or () for row in rows], longest)
    types_BT = None
    if any(row.token_type_ids for row in rows):
        types_BT = _padded([row.token_type_ids or () for row in rows], most)
    lengths_B1 = torch.tensor([[len(row.input_ids)] for row in rows])
    read_BT = torch.zeros(len(rows), width, dtype=torch.bool)
    places = [(number, place) for number, row in enumerate(rows) for place in row.read or ()]
    if places:
        read_BT[tuple(torch.tensor(places).T)] = True
    ids_BT, mask_BT = _padded([row.input_ids for row in rows], most), torch.arange(most) < lengths_B1
    return Texts(
        ids_BT.to(device),
        mask_BT.to(device),
        read_BT.to(device),
        None if types_BT is None else types_BT.to(device),
        None if written_BU is None else written_BU.to(device),
    )


def _padded(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """`[B, length]` int64, padded on the right with 0."""
    return torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], dtype=torch.long)
