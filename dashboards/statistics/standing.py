"""Which methods could be the best: the one object from which verdict, table, sentence and page are made.

Two kinds of claim, each with the test that suits it:

1. "X is better than every other": X has the highest mean, and each of its differences to the others is significant by itself
   (intersection-union test, Berger, Technometrics 24, 1982). It needs no correction: the claim is only made if
   all hold, so it is false in at most 5 % of studies whichever methods are equal.
2. Otherwise a method leaves the set only if another is shown to be better by a test that is corrected over all pairs: the
   distribution of the largest of all |t| among equal methods, drawn with the pairs' own errors and degrees of freedom (max-t;
   Westfall & Young, 1993; Tukey's test is the case of independent methods with equal errors). Where this test
   shows that the leader beats each other one, that is "better than every other" too: with few seeds it may show what 1 does not.

The p of a pair is that of the claim that is made of it, and its interval excludes 0 exactly where p < 0.05. Where seeds are added
in several looks (looks.py), p counts this too: it is p of this look times 0.05 / level of this look.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from dashboards.statistics.joint import BOTH, Estimate, Joint
from dashboards.statistics.looks import ALPHA
from dashboards.statistics.sample import FloatArray

SHARE = 0.8
"""The share of the level that the corrected test takes; so both kinds of claims together are false in less than 5 %."""
DRAWS = 10_000
"""Draws of the largest |t|: p of 0.05 is known to +- 0.004."""


@dataclass(frozen=True)
class Pair:
    """The difference of two methods: `one` minus `other`, both indices.

    Attributes:
        estimate: with the interval and the p value of the claim that is made of the pair.
        claim: "best": part of "better than every other" as tested without correction; "any": corrected over all pairs.
    """

    one: int
    other: int
    estimate: Estimate
    claim: Literal["best", "any"]

    @property
    def shown(self) -> bool:
        """Whether a difference is shown. One of seeds alone is not."""
        p_value = self.estimate.p_value
        return p_value is not None and p_value < ALPHA and self.estimate.covers == BOTH

    @property
    def turned(self) -> Pair:
        """The same, seen from the other side."""
        found = self.estimate
        low, high = found.ci_low, found.ci_high
        return Pair(
            self.other,
            self.one,
            replace(
                found,
                mean=-found.mean,
                ci_low=None if high is None else -high,
                ci_high=None if low is None else -low,
            ),
            self.claim,
        )


@dataclass(frozen=True)
class Standing:
    """The methods that could be the best.

    Attributes:
        leader: the one with the highest mean; of equal ones the first.
        best: whether it is shown to be better than every other.
        members: those that could be the best, in the order given.
        pairs: every pair, the first of it with the lower index.
    """

    leader: int
    best: bool
    members: tuple[int, ...]
    pairs: tuple[Pair, ...]

    def pair(self, one: int, other: int) -> Pair:
        """`one` minus `other`."""
        found = next(pair for pair in self.pairs if {pair.one, pair.other} == {one, other})
        return found if found.one == one else found.turned


def standing(joint: Joint, level: float = ALPHA) -> Standing:
    """The methods that could be the best.

    Args:
        joint: the methods, at least one.
        level: the level of this look.
    """
    count = len(joint.samples)
    leader = int(joint.means.argmax())
    found = {pair: joint.difference(*pair) for pair in combinations(range(count), 2)}
    to_leader = [estimate.p_value for pair, estimate in found.items() if leader in pair]
    measured = joint.covers == BOTH and bool(to_leader) and None not in to_leader
    alone = level if count > 2 else level * SHARE  # of two methods both claims are the same
    best = measured and all(p < alone for p in to_leader if p is not None)
    corrected = _correction(joint, found, level * SHARE)
    pairs = []
    for (one, other), estimate in found.items():
        if best and leader in (one, other):
            pairs.append(Pair(one, other, _claimed(estimate, ALPHA / alone, alone), "best"))
        else:
            pairs.append(Pair(one, other, corrected(estimate), "any"))
    shown = [pair if pair.estimate.mean > 0 else pair.turned for pair in pairs if pair.shown]
    unbeaten = set(range(count)) - {pair.other for pair in shown} | {leader}
    if len(unbeaten) == 1:
        # By the leader itself, or else its "better than every other" would stand on no p of its own.
        unbeaten = set(range(count)) - {pair.other for pair in shown if pair.one == leader}
    best = best or len(unbeaten) == 1 < count
    return Standing(leader, best, tuple(sorted(unbeaten)), tuple(pairs))


def _claimed(estimate: Estimate, factor: float, each: float) -> Estimate:
    """An estimate with p times a factor, and the interval at the level at which this pair alone is tested."""
    interval = estimate.interval(1 - each)
    if estimate.p_value is None or interval is None:
        return estimate
    return replace(
        estimate, p_value=min(1.0, estimate.p_value * factor), ci_low=interval[0], ci_high=interval[1]
    )


def _correction(
    joint: Joint, found: dict[tuple[int, int], Estimate], level: float
) -> Callable[[Estimate], Estimate]:
    """A function that corrects an estimate over all pairs that are tested together at `level`."""
    measured = [pair for pair, estimate in found.items() if estimate.degrees_of_freedom is not None]
    if len(found) < 2 or not measured:
        return lambda estimate: _claimed(estimate, ALPHA / level, level)
    smallest = np.sort(_smallest_p(joint, measured))
    count = len(smallest) + 1
    # p of a pair is below the level exactly where it is below this one of the smallest p
    each = float(smallest[max(math.ceil(level * count) - 2, 0)])

    def correct(estimate: Estimate) -> Estimate:
        if estimate.p_value is None:
            return estimate
        as_small = int(np.searchsorted(smallest, estimate.p_value, side="right"))
        return replace(
            _claimed(estimate, 1.0, each), p_value=min(1.0, (as_small + 1) / count * ALPHA / level)
        )

    return correct


def _smallest_p(joint: Joint, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    """[DRAWS] The smallest p over the pairs, in studies of equal methods whose errors are these.

    Each draw has its own means, variances and degrees of freedom, as a study would.
    """
    rng, draws = np.random.default_rng(0), (DRAWS, len(joint.samples))
    parts = [joint.seeds_part(index)[1] for index in range(len(joint.samples))]
    raw, freedom = np.array([terms[0] for terms in parts]).T
    noise = np.array([sum(variance for variance, _ in terms[1:]) for terms in parts])
    means = rng.multivariate_normal(np.zeros(draws[1]), joint.covariance, DRAWS, method="eigh")
    seeds = raw * rng.chisquare(freedom, draws) / freedom
    search = 2 * joint.search.variance if joint.search else 0.0
    # a drawn variance of the search would be that of one estimate, the same for every pair
    of_search = (
        search * rng.chisquare(joint.search.freedom, DRAWS) / joint.search.freedom if joint.search else 0.0
    )
    examples = [(_drawn(cov, free, rng), free) for cov, free in joint.examples]
    smallest = np.ones(DRAWS)
    for one, other in pairs:
        parts_of = [
            (c[:, one, one] + c[:, other, other] - 2 * c[:, one, other], free) for c, free in examples
        ]
        from_seeds = seeds[:, one] + seeds[:, other] - noise[one] - noise[other]
        variance = np.maximum(from_seeds, 0.0) + sum(part for part, _ in parts_of) + of_search
        rough = seeds[:, one] ** 2 / freedom[one] + seeds[:, other] ** 2 / freedom[other]
        rough = np.where(from_seeds > 0, rough, 0.0) + sum(part**2 / free for part, free in parts_of)
        if joint.search and search:
            rough = rough + (2 * joint.search.raw) ** 2 / joint.search.freedom
        size = np.abs(means[:, one] - means[:, other]) / np.sqrt(np.maximum(variance, 1e-24))
        large = size > 1  # the others are no smallest p that matters
        free = np.maximum(variance[large] ** 2 / np.maximum(rough[large], 1e-300), 1.0)
        smallest[large] = np.minimum(smallest[large], 2 * stats.t.sf(size[large], free))
    return smallest


def _drawn(cov: FloatArray, freedom: float, rng: np.random.Generator) -> FloatArray:
    """[DRAWS, M, M] Estimates of a covariance matrix from so many degrees of freedom (Wishart, by Bartlett's decomposition)."""
    count = len(cov)
    values, vectors = np.linalg.eigh(cov)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    freedom = max(freedom, float(count))
    lower = np.tril(rng.normal(size=(DRAWS, count, count)), -1)
    lower[:, range(count), range(count)] = np.sqrt(rng.chisquare(freedom - np.arange(count), (DRAWS, count)))
    half = root @ lower
    return np.asarray(half @ half.transpose(0, 2, 1) / freedom)
