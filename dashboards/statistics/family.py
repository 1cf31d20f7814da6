"""Questions about scores that one report answers together.

A question may get several answers, and each is a claim: it holds, or it does not. A claim has a one-sided p value against its
contrary. Of all claims of all questions those are made that Holm's step-down method allows at 5 % (Scandinavian Journal of
Statistics 6, 1979): of reports less than 5 % make a false one, whichever are false, and however the claims hang together.
(Holm and not the largest |t|: claims have no common distribution, since one of them is of ranks.)

A claim may have parts. Where all must hold, p is the largest of theirs (intersection-union test, Berger, Technometrics 24, 1982); where
one is enough, the smallest times their number (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from dashboards.statistics.joint import BOTH, Estimate, Joint
from dashboards.statistics.looks import ALPHA


class Question(NamedTuple):
    """The p values of what may be said to it: that it holds, and each reason for which it does not."""

    holds: float
    fails: tuple[float, ...]


class Told(NamedTuple):
    """What may be said to a question.

    Attributes:
        holds: None where nothing is shown.
        p_value: of the claim that is nearest to be made, corrected over all claims.
    """

    holds: bool | None
    p_value: float


def told(questions: Mapping[str, Question]) -> dict[str, Told]:
    """Answers questions together, each by its name."""
    corrected = iter(holm([p for question in questions.values() for p in (question.holds, *question.fails)]))
    found = {}
    for name, question in questions.items():
        holds, fails = next(corrected), min(next(corrected) for _ in question.fails)
        said = True if holds < ALPHA else False if fails < ALPHA else None
        found[name] = Told(said, holds if said else fails if said is False else min(holds, fails))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p values for their number, step by step."""
    found, largest = [1.0] * len(p_values), 0.0
    for done, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - done)))
        found[index] = largest
    return found


def every(p_values: Sequence[float]) -> float:
    """The p of a claim all parts of which must hold."""
    return max(p_values, default=0.0)


def some(p_values: Sequence[float]) -> float:
    """The p of a claim one part of which is enough."""
    return min(1.0, len(p_values) * min(p_values, default=1.0))


def above(estimate: Estimate, bound: float = 0.0) -> float:
    """One-sided p that a difference, whose spread was measured, is larger than a bound."""
    assert estimate.error is not None
    if estimate.degrees_of_freedom is None:
        return 0.0 if estimate.mean > bound else 1.0
    return float(stats.t.sf((estimate.mean - bound) / estimate.error, estimate.degrees_of_freedom))


class Claims:
    """Questions about the means of methods; None where their spread was not measured.

    Args:
        joint: the methods.
        level: the level of this look (looks.py): p values are those of the look times 0.05 / level.
    """

    def __init__(self, joint: Joint, level: float = ALPHA) -> None:
        self._joint, self._factor = joint, ALPHA / level

    def better(self, one: int, other: int, epsilon: float) -> Question | None:
        """Whether `one` is better than `other`. It is not if it is worse, or within epsilon of it."""
        if not self._measured([one, other]):
            return None
        equal = every([self._above(one, other, -epsilon), self._above(other, one, -epsilon)])
        return Question(self._above(one, other), (self._above(other, one), equal))

    def highest(self, one: int, others: Sequence[int]) -> Question | None:
        """Whether `one` is better than every other. It is not if one of them is better."""
        if not self._measured([one, *others]):
            return None
        wins = [self._above(one, other) for other in others]
        return Question(every(wins), (some([self._above(other, one) for other in others]),))

    def cheapest_near(self, one: int, prices: Mapping[int, float], epsilon: float) -> Question | None:
        """Whether `one` is the cheapest that is at most epsilon below the best of those with a price.

        It is if it is within epsilon of every other, and each cheaper one is more than that below another. It is not if it is more than
        that below another, or a cheaper one is within epsilon of every other.
        """
        if not self._measured(list(prices)) or not all(map(math.isfinite, prices.values())):
            return None
        near = {a: every([self._above(a, b, -epsilon) for b in prices if b != a]) for a in prices}
        far = {a: some([self._above(b, a, epsilon) for b in prices if b != a]) for a in prices}
        cheaper = [a for a in prices if prices[a] < prices[one]]
        holds = every([near[one], *(far[a] for a in cheaper)])
        return Question(holds, (far[one], *(near[a] for a in cheaper)))

    def _measured(self, methods: Sequence[int]) -> bool:
        seeds = min(len(self._joint.samples[index].values) for index in methods)
        return seeds > 1 and self._joint.covers == BOTH

    def _above(self, one: int, other: int, bound: float = 0.0) -> float:
        return min(1.0, self._factor * above(self._joint.difference(one, other), bound))
