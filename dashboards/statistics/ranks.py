"""Whether scores of one kind are above those of another, from ranks within groups.

The statistic is van Elteren's (Bulletin of the Institute of International Statistics 37, 1960): the sum of the ranks of one kind in each
group of n scores, less what is expected, over n + 1. Its p is the share of permutations of the kinds within the groups that
are as extreme, so it is right for any distribution of scores, where a score's kind was drawn without knowing scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

DRAWS = 10_000


def above_and_below(groups: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float]:
    """One-sided p that the first kind is above the second, and that it is below.

    Args:
        groups: the scores of both kinds in each group.
    """
    rng, total, drawn = np.random.default_rng(0), 0.0, np.zeros(DRAWS)
    for first, second in groups:
        ranks = stats.rankdata([*first, *second])
        ranks = (ranks - ranks.mean()) / (len(ranks) + 1)
        total += float(ranks[: len(first)].sum())
        drawn += rng.permuted(np.tile(ranks, (DRAWS, 1)), axis=1)[:, : len(first)].sum(axis=1)
    above, below = (int((sign * drawn >= sign * total - 1e-9).sum()) for sign in (1, -1))
    return (above + 1) / (DRAWS + 1), (below + 1) / (DRAWS + 1)


def wins(first: Sequence[float], second: Sequence[float]) -> float:
    """The share of pairs in which the first is higher; equal ones count half."""
    gaps = np.sign(np.subtract.outer(np.asarray(first), np.asarray(second)))
    return float((gaps.mean() + 1) / 2)
