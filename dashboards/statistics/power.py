"""What a study can show, before it runs."""

from __future__ import annotations

import numpy as np
from scipy import stats

from dashboards.statistics.looks import levels

SCORE, SEED_STD = 0.8, 0.01
"""Assumed: the share of right answers, and the standard deviation of a method's score over seeds."""
COMMON, SAME = 0.66, 0.76
"""Assumed: how much two methods, and two seeds of one method, agree about what is hard (correlation of a latent number).

Half of what decides an answer is the example's own, a fifth the method's, a third that of one training.
"""
DRAWS = 20_000


def power(lead: float, methods: int, looks: tuple[int, ...], rows: float) -> float:
    """The share of studies that call a method the best which scores `lead` more than all the others.

    The others are taken to be equal. The errors are those of dashboards/statistics/joint.py, taken as known; the test is that of
    standing.py at the last look.

    Args:
        lead: in the units of the score, from 0 to 1.
        methods: how many are compared, 2 or more.
        looks: the numbers of seeds at the looks.
        rows: test examples, or groups of them.
    """
    error, freedom = difference_error(looks[-1], rows)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, error / np.sqrt(2), (DRAWS, methods))
    nearest = lead + noise[:, 0] - noise[:, 1:].max(axis=1)
    return float((nearest > stats.t.isf(levels(looks)[-1] / 2, freedom) * error).mean())


def difference_error(seeds: int, rows: float) -> tuple[float, float]:
    """The standard error of the difference of two methods, and its degrees of freedom, as assumed."""
    quantile = stats.norm.ppf(SCORE)
    both = [
        float(stats.multivariate_normal.cdf([quantile, quantile], cov=[[1, r], [r, 1]]))
        for r in (COMMON, SAME)
    ]
    common, same = (share - SCORE**2 for share in both)
    noise = (SCORE * (1 - SCORE) - same) / (seeds * rows)
    of_seeds, of_examples = SEED_STD**2 / seeds, (same - common) / rows
    variance = 2 * (of_seeds + noise + of_examples)
    rough = 2 * (of_seeds + noise) ** 2 / max(seeds - 1, 1) + (2 * (of_examples + noise)) ** 2 / max(
        rows - 1, 1
    )
    return float(np.sqrt(variance)), float(variance**2 / rough)
