"""The stratified permutation test of ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dashboards.statistics import ranks


def test_one_group_is_the_exact_rank_sum_test() -> None:
    first, second = [3.1, 4.2, 5.3, 2.5], [1.0, 2.0, 3.0, 0.5, 4.0]
    exact = stats.mannwhitneyu(first, second, alternative="greater", method="exact").pvalue
    above, below = ranks.above_and_below([(first, second)])
    assert above == pytest.approx(exact, abs=4 * math.sqrt(exact / ranks.DRAWS))
    assert below > 0.9
    assert ranks.wins(first, second) == 17 / 20


def test_groups_are_compared_within_and_count_together() -> None:
    one = ([0.9, 0.8, 0.7], [0.6, 0.5, 0.4])
    alone, _ = ranks.above_and_below([one])
    assert alone == pytest.approx(1 / 20, abs=0.01)
    lower = tuple([value - 10 for value in side] for side in one)
    both, _ = ranks.above_and_below([one, lower])  # type: ignore[list-item]
    assert both == pytest.approx(1 / 400, abs=0.002)


def test_equal_scores_and_none_show_nothing() -> None:
    assert ranks.above_and_below([([0.5] * 4, [0.5] * 4)]) == (1.0, 1.0)
    assert ranks.above_and_below([]) == (1.0, 1.0)
    assert ranks.wins([0.5], [0.5]) == 0.5


@pytest.mark.parametrize("shape", ["normal", "tails", "collapse"])
@pytest.mark.parametrize("groups", [1, 4])
def test_random_kinds_are_told_apart_at_the_level(
    shape: str, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6 to 30 scores a group; both sides are tested at 2.5 %."""
    monkeypatch.setattr(ranks, "DRAWS", 499)
    rng, studies, wrong = np.random.default_rng(3), 400, 0
    for _ in range(studies):
        made = []
        for _ in range(groups):
            count = int(rng.integers(6, 31))
            scores = rng.standard_t(2, count) if shape == "tails" else rng.normal(size=count)
            if shape == "collapse":
                scores = np.where(rng.random(count) < 0.2, -20.0, scores)
            first = rng.random(count) < 0.5
            if 0 < first.sum() < count:
                made.append((scores[first].tolist(), scores[~first].tolist()))
        wrong += min(ranks.above_and_below(made)) < 0.025
    assert wrong / studies < 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)
