"""Which rows a step trains on, and how rows become tensors.

Rows of similar length share a batch, so little is wasted on padding: each epoch is shuffled, cut into
stretches of `_STRETCH` batches, sorted by length within each, and the batches shuffled again. The order is a
function of (seed, step) alone: a resumed trial goes on with the rows it would have seen.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

import torch
from torch import Tensor

_STRETCH = 8


class BatchOrder:
    """The batches of a trial: row numbers for each step.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a batch; the last batch of an epoch may have fewer.
        seed: of the shuffling.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._per_epoch = -(-len(lengths) // batch_size)

    def __getitem__(self, step: int) -> list[int]:
        """Row numbers of the batch of `step`, counted from 0."""
        epoch, index = divmod(step, self._per_epoch)
        return self._epoch(epoch)[index]

    @functools.lru_cache(maxsize=1)  # noqa: B019 - one per trial, and dies with it
    def _epoch(self, epoch: int) -> list[list[int]]:
        draw = random.Random(f"{self._seed}/{epoch}")
        rows = list(range(len(self._lengths)))
        draw.shuffle(rows)
        size = self._batch_size
        batches = []
        for start in range(0, len(rows), _STRETCH * size):
            stretch = sorted(rows[start : start + _STRETCH * size], key=lambda row: self._lengths[row])
            batches += [stretch[i : i + size] for i in range(0, len(stretch), size)]
        draw.shuffle(batches)
        return batches


def by_length(texts: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Row numbers in batches of equal lengths, the longest first (so that memory runs out at once or never)."""
    rows = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    return [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]


def collate(texts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids `[B, T]` int64, padded on the right to the longest text, and their mask `[B, T]` bool.

    Padding is masked everywhere, so it does not matter which token it is: 0.
    """
    longest = max(map(len, texts))
    ids_BT = torch.zeros(len(texts), longest, dtype=torch.long)
    mask_BT = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids_BT[row, : len(text)] = torch.tensor(text, dtype=torch.long)
        mask_BT[row, : len(text)] = True
    return ids_BT.to(device), mask_BT.to(device)


def collate_read(read: Sequence[Sequence[int] | None], mask_BT: Tensor) -> Tensor:
    """Places to read `[B, T]` bool, from a list of positions per row (None: nowhere)."""
    read_BT = torch.zeros(mask_BT.shape, dtype=torch.bool)
    for row, positions in enumerate(read):
        if positions:
            read_BT[row, torch.tensor(positions)] = True
    return read_BT.to(mask_BT.device)
