"""Levels of significance for several looks at a growing number of seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

ALPHA = 0.05
"""Level of all looks together, two-sided."""


@lru_cache
def levels(looks: tuple[int, ...]) -> tuple[float, ...]:
    """The level of a two-sided test at each look, so that all together claim a difference among equals in 5 %.

    Error is spent as 2 - 2 Phi(z / sqrt(t)) with t the share of the seeds that are there (O'Brien and Fleming's boundaries; Lan
    & DeMets, Biometrika 70, 1983): early looks take little, and the last one nearly all. Looks are taken to be correlated
    as sums of seeds are, sqrt(t_1 / t_2); they are more so, since the test examples stay, which makes the levels safe.

    Args:
        looks: the numbers of seeds at the looks, ascending.
    """
    shares = np.array(looks) / looks[-1]
    spent = 2 * stats.norm.sf(stats.norm.isf(ALPHA / 2) / np.sqrt(shares))
    bounds: list[float] = []
    for index in range(len(looks)):
        bounds.append(_bound(bounds, shares[: index + 1], float(spent[index])))
    return tuple(float(2 * stats.norm.sf(bound)) for bound in bounds)


def _bound(before: Sequence[float], shares: np.ndarray, spent: float) -> float:
    """z such that a test of equals has crossed a bound by this look with probability `spent`."""
    if not before:
        return float(stats.norm.isf(spent / 2))
    cov = np.sqrt(np.minimum.outer(shares, shares) / np.maximum.outer(shares, shares))

    def crossed(bound: float) -> float:
        bounds = np.array([*before, bound])
        inside = stats.multivariate_normal.cdf(
            bounds, cov=cov, lower_limit=-bounds, rng=np.random.default_rng(0)
        )
        return 1 - float(inside) - spent

    return float(optimize.brentq(crossed, 1.0, 6.0, xtol=1e-4))
