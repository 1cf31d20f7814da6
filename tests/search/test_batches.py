"""Batches: every row once an epoch, similar lengths together, a function of seed and step."""

from __future__ import annotations

import random

import torch

from search.batches import BatchOrder, by_length, collate

LENGTHS = [random.Random(0).randint(3, 60) for _ in range(203)]


def test_an_epoch_has_every_row_once() -> None:
    order = BatchOrder(LENGTHS, 16, seed=1)
    for epoch in range(2):
        rows = [row for step in range(13) for row in order[epoch * 13 + step]]
        assert sorted(rows) == list(range(203))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first, second = BatchOrder(LENGTHS, 16, seed=1), BatchOrder(LENGTHS, 16, seed=1)
    assert first[40] == [*map(second.__getitem__, (3, 40))][1]
    assert BatchOrder(LENGTHS, 16, seed=2)[0] != first[0]
    assert first[0] != first[13]  # another epoch, another order


def test_little_is_wasted_on_padding() -> None:
    order = BatchOrder(LENGTHS, 16, seed=1)
    padded = sum(max(LENGTHS[row] for row in order[step]) * len(order[step]) for step in range(13))
    assert padded < 1.25 * sum(LENGTHS)


def test_evaluation_batches_hold_every_row_once() -> None:
    texts = [[1] * length for length in LENGTHS]
    assert sorted(row for batch in by_length(texts, 64) for row in batch) == list(range(203))


def test_padding_is_on_the_right_and_masked() -> None:
    ids, mask = collate([[5, 6, 7], [8]], device=torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]
