"""Seeds in two groups are seen, and seeds in one are not."""

from __future__ import annotations

import numpy as np
import pytest

from dashboards.statistics.collapse import collapsed


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_collapsed_seeds_are_counted(seeds: int) -> None:
    rng, told = np.random.default_rng(0), []
    for _ in range(200):
        values = rng.normal(0.8, 0.01, (3, seeds))
        lost = int(rng.integers(1, seeds))
        values[1, :lost] -= 0.2
        told.append(collapsed(list(values), [0.005] * 3) == [0, lost, 0])
    assert np.mean(told) >= 0.9


def test_normal_seeds_are_one_group() -> None:
    rng = np.random.default_rng(1)
    told = [collapsed(list(rng.normal(0.8, 0.01, (4, 5))), [0.01] * 4) for _ in range(300)]
    assert np.mean(np.array(told) > 0) < 0.03


def test_seeds_that_differ_by_the_examples_alone_are_one_group() -> None:
    assert collapsed([np.array([0.80, 0.80, 0.83])], [0.02]) == [0]


def test_two_seeds_have_no_groups() -> None:
    assert collapsed([np.array([0.1, 0.9])], [0.0]) == [0]
