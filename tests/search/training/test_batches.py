"""Batches: every row once an epoch, similar lengths together, tasks by their shares, a function of seed and step."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from search.tasks import Row
from search.training import batches
from search.training.batches import BatchOrder, by_length, collate

LENGTHS = [random.Random(0).randint(3, 60) for _ in range(203)]


def test_an_epoch_has_every_row_once() -> None:
    order = BatchOrder([LENGTHS], 7, seed=1)
    for epoch in range(2):
        rows = [row for step in range(29) for _, row in order[epoch * 29 + step]]
        assert sorted(rows) == list(range(203))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first, second = BatchOrder([LENGTHS], 16, seed=1), BatchOrder([LENGTHS], 16, seed=1)
    assert first[40] == [*map(second.__getitem__, (3, 40))][1]
    assert BatchOrder([LENGTHS], 16, seed=2)[0] != first[0]
    assert first[0] != first[13]  # another epoch, another order


def test_little_is_wasted_on_padding() -> None:
    order = BatchOrder([LENGTHS], 16, seed=1)
    batches = [[LENGTHS[row] for _, row in order[step]] for step in range(60)]
    assert sum(max(batch) * len(batch) for batch in batches) < 1.25 * sum(map(sum, batches))


def test_no_batch_mixes_long_and_short_but_where_epochs_meet() -> None:
    lengths = [5] * 50 + [50] * 53  # 103 rows: 6 batches of 16 and 7 rows over, in each epoch
    order = BatchOrder([lengths], 16, seed=3)
    for epoch in range(4):
        whole = range(-(-epoch * 103 // 16), (epoch + 1) * 103 // 16)
        mixed = sum(len({lengths[row] for _, row in order[step]}) > 1 for step in whole)
        assert mixed <= 1  # where the short ones end and the long ones begin


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [(1.0, {0: 600, 1: 300, 2: 100}), (0.0, {0: 333, 1: 333, 2: 334}), (0.5, {0: 473, 1: 334, 2: 193})],
)
def test_each_batch_has_the_tasks_by_their_shares(exponent: float, expected: dict[int, int]) -> None:
    order = BatchOrder([[5] * 60, [5] * 30, [5] * 10], 10, seed=0, exponent=exponent)
    batches = [order[step] for step in range(100)]
    assert {len(batch) for batch in batches} == {10}
    counts = Counter(task for batch in batches for task, _ in batch)
    assert all(abs(counts[task] - count) <= 1 for task, count in expected.items())
    assert all(len({task for task, _ in batch}) == 3 for batch in batches)


def test_every_row_of_a_task_comes_before_any_comes_again() -> None:
    order = BatchOrder([[5] * 60, [5] * 7], 10, seed=0, exponent=0.0)
    rows = [row for step in range(7) for task, row in order[step] if task == 1]
    assert len(rows) == 35
    assert set(Counter(rows).values()) == {5}


def test_evaluation_batches_hold_every_row_once() -> None:
    rows = [Row([1] * length, [0]) for length in LENGTHS]
    assert sorted(row for batch in by_length(rows, 64) for row in batch) == list(range(203))


def test_padding_is_on_the_right_and_masked() -> None:
    rows = [Row([5, 6, 7], [0], [1, 2]), Row([8], [0])]
    texts = collate(rows, device=torch.device("cpu"))
    assert texts.ids_BT.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert texts.mask_BT.tolist() == [[True, True, True], [True, False, False]]
    assert texts.read_BT.tolist() == [[False, True, True], [False, False, False]]
    assert texts.types_BT is None


def test_token_types_of_pairs_are_padded_with_zeros() -> None:
    rows = [Row([5, 6, 7], [0], token_type_ids=[0, 1, 1]), Row([8], [0])]
    types = collate(rows, device=torch.device("cpu")).types_BT
    assert types is not None
    assert types.tolist() == [[0, 1, 1], [0, 0, 0]]


def test_an_epoch_is_shuffled_once_however_many_trials_share_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shuffled = []
    original = batches._Stream._shuffled
    monkeypatch.setattr(
        batches._Stream, "_shuffled", lambda self, epoch: shuffled.append(epoch) or original(self, epoch)
    )
    orders = [BatchOrder([[5] * 64], 8, seed) for seed in range(5)]
    for step in range(8):
        for order in orders:
            order[step]
    assert shuffled == [0] * 5
