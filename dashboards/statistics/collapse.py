"""Seeds in two groups: training that works with some seeds and collapses with others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboards.statistics.sample import FloatArray

GAP = 5.0
"""The means of two groups of seeds are so many standard deviations apart, or more."""


def collapsed(values: Sequence[FloatArray], noise: Sequence[float]) -> list[int]:
    """For each method, how many of its seeds have collapsed.

    A method's seeds are cut at the widest gap between neighbouring scores. The standard deviation within the two parts is pooled
    over the methods, so that a few seeds tell enough.

    Args:
        values: [S] the test score of each seed, for each method.
        noise: the standard deviation that the test examples alone give to the score of a seed, for each method.

    Returns:
        The size of the lower part where the parts are at least `GAP` of these standard deviations apart; else 0.
    """
    cuts = [_cut(np.sort(mine)) for mine in values]
    freedom = sum(max(len(mine) - 2, 0) for mine in values)
    pooled = sum(inside for _, _, inside in cuts) / freedom if freedom else 0.0
    found = []
    for (low, gap, _), mine, rough in zip(cuts, values, noise, strict=True):
        scale = max(float(np.sqrt(pooled)), rough)
        found.append(low if len(mine) > 2 and gap > 0 and gap >= GAP * scale else 0)
    return found


def _cut(ordered: FloatArray) -> tuple[int, float, float]:
    """The size of the lower part, the distance of the means of both, and the sum of squares within them."""
    if len(ordered) < 2:
        return 0, 0.0, 0.0
    gaps = np.diff(ordered)
    low = int(gaps.argmax()) + 1
    parts = ordered[:low], ordered[low:]
    return (
        low,
        float(parts[1].mean() - parts[0].mean()),
        float(sum(((part - part.mean()) ** 2).sum() for part in parts)),
    )
