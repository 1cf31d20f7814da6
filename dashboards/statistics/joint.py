"""How sure the test scores of several methods are, for new seeds AND new examples.

Notation: M methods, S seeds, T tasks with U units each: test examples, or groups of examples that belong together. What units add
to a method's score is a table

    y[s, u] = mu + a[s] + b[u] + g[s, u]        (two-way random effects, one observation per cell)

where a is the luck of a training seed, b the difficulty of a unit, g what is left. For a metric that is no mean over
examples, y are its pseudo-values (leave-one-out, or the metric's influence function), whose mean is the score up to O(1/E). A
test score is the mean over seeds. Its variance for new seeds and new examples is  var(a)/S + var(b)/U + var(g)/(S U),
estimated by three terms:

    seeds         V_s = var_s(score) / S             expects  var(a)/S + var(g)/(S U)     S - 1 df
    examples      V_e = var_u(mean_s y) / U          expects  var(b)/U + var(g)/(S U)     U - 1 df
    interaction   V_g = var(residual) / (S U)        expects  var(g)/(S U)                (S - 1)(U - 1) df

    V = max(V_s - V_g, 0) + V_e

because both of the first terms count g once. For the difference of two methods A and B, seeds are independent (a seed of
A has nothing to do with the same number in B) and examples are the same, so

    V = max((V_s - V_g) of A + the same of B, 0) + var_u(mean_s y_A - mean_s y_B) / U

The last term pairs the examples: what both methods find hard cancels. With several tasks, V_e and V_g are summed over tasks
(examples of different tasks are independent). Degrees of freedom: Satterthwaite, V^2 / sum(V_i^2 / df_i), never below
the smallest df_i. Where the seeds' part comes out at 0 or less it adds nothing, and its terms are left out of the degrees
of freedom too: with them, intervals of methods whose seeds agree cover 98 % instead of 95.

Variances are not pooled or moderated over methods (as limma does): where methods' seeds vary unequally, intervals of the
wilder one would cover 87 to 92 %. The spread of the configurations that a search could have ended with is added where it is
known (`search`).

Where there are no scores per example, V = V_s: the usual t interval, or Welch's for a difference. It covers new seeds only,
says so in `Estimate.covers`, and no difference is claimed from it.

Sources: Searle, Casella & McCulloch, Variance Components (1992), ch. 4; Satterthwaite, Biometrics Bulletin 2 (1946); Miller,
The jackknife, Biometrika 61 (1974); Cameron & Miller, A Practitioner's Guide to Cluster-Robust Inference, J. Human
Resources 50 (2015); Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021 (why seeds, data
and search are all sampled).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dashboards.statistics.sample import FloatArray, Sample

Term = tuple[float, float]
"""A part of a variance, and its degrees of freedom."""


@dataclass(frozen=True)
class SearchSpread:
    """What the search adds to the variance of a method's score.

    Attributes:
        variance: between the configurations that a search could have ended with.
        raw: the same before the noise of their scores was taken off.
        freedom: how many comparisons of two configurations it was estimated from.
    """

    variance: float
    raw: float
    freedom: float


BOTH = "seeds and examples"
SEEDS = "seeds only"
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference of means, with its interval.

    `error` (a standard error), `ci_low`, `ci_high`, `p_value` (two-sided, against 0) and `degrees_of_freedom` are None where
    a spread was not measured: one seed has none. `covers` says what the interval generalizes to.
    """

    mean: float
    error: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    degrees_of_freedom: float | None = None
    covers: str | None = None

    def interval(self, level: float) -> tuple[float, float] | None:
        """Its interval at another level."""
        if self.error is None:
            return None
        if self.degrees_of_freedom is None:
            return self.mean, self.mean
        half = float(stats.t.ppf(0.5 + level / 2, self.degrees_of_freedom)) * self.error
        return self.mean - half, self.mean + half


class Joint:
    """The test scores of methods that stand in one comparison.

    Args:
        samples: one for each method, scored on the same examples.
        search: what the search adds to the variance of each; None: fixed configurations are compared.
    """

    def __init__(self, samples: Sequence[Sample], search: SearchSpread | None = None) -> None:
        self.samples = samples
        self.means = np.array([sample.mean for sample in samples])
        self.search = search
        self._noise = [_noise(sample) for sample in samples]
        shapes = {tuple(table.shape[1] for table in sample.tables) for sample in samples}
        self.covers = BOTH if len(shapes) == 1 and () not in shapes else SEEDS
        self.examples: list[tuple[FloatArray, float]] = []
        for task, freedom in enumerate(samples[0].freedom if self.covers == BOTH else ()):
            means = np.stack([sample.tables[task].mean(axis=0) for sample in samples])
            if means.shape[1] > 1:
                self.examples.append((np.atleast_2d(np.cov(means)) / means.shape[1], freedom))

    def mean(self, index: int) -> Estimate:
        """The test mean of a method and its interval."""
        weights = np.zeros(len(self.samples))
        weights[index] = 1.0
        return self.contrast(weights)

    def difference(self, one: int, other: int) -> Estimate:
        """The mean of `one` minus that of `other`. Examples are paired, seeds independent."""
        weights = np.zeros(len(self.samples))
        weights[one], weights[other] = 1.0, -1.0
        return self.contrast(weights)

    def seeds_part(self, index: int) -> tuple[float, list[Term]]:
        """V_s - V_g, which may be below 0, with its terms."""
        values = self.samples[index].values
        if len(values) < 2:
            return 0.0, [(0.0, 1.0)]
        noise = self._noise[index] if self.covers == BOTH else []
        terms = [(float(values.var(ddof=1)) / len(values), len(values) - 1.0), *noise]
        return terms[0][0] - sum(part for part, _ in noise), terms

    def noise(self, index: int) -> float:
        """The standard deviation that test examples alone give to the score of a seed: sqrt(S V_g)."""
        return float(np.sqrt(len(self.samples[index].values) * sum(part for part, _ in self._noise[index])))

    @property
    def covariance(self) -> FloatArray:
        """[M, M] of the methods' means."""
        seeds = [max(self.seeds_part(index)[0], 0.0) for index in range(len(self.samples))]
        found = sum((cov for cov, _ in self.examples), np.diag(seeds))
        return found + np.eye(len(seeds)) * (self.search.variance if self.search else 0.0)

    def contrast(self, weights: FloatArray) -> Estimate:
        """A weighted sum of the methods' means, with weights of 1 and -1."""
        used = [int(index) for index in np.flatnonzero(weights)]
        mean = float(weights @ self.means)
        if min(len(self.samples[index].values) for index in used) < 2:
            return Estimate(mean)
        parts = [self.seeds_part(index) for index in used]
        seeds = sum(part for part, _ in parts)
        terms = [term for _, mine in parts for term in mine] if seeds > 0 else []
        examples = [(float(weights @ cov @ weights), freedom) for cov, freedom in self.examples]
        variance = max(seeds, 0.0) + sum(part for part, _ in examples)
        terms += examples
        if self.search is not None:
            variance += len(used) * self.search.variance
            if self.search.variance > 0:
                terms.append((len(used) * self.search.raw, self.search.freedom))
        return _t_interval(mean, variance, terms, self.covers)


def mean_interval(sample: Sample) -> Estimate:
    """The test mean of one method and its interval."""
    return Joint([sample]).mean(0)


def difference(a: Sample, b: Sample) -> Estimate:
    """The mean of `a` minus that of `b`; see `Joint.difference`."""
    return Joint([a, b]).difference(0, 1)


def _noise(sample: Sample) -> list[Term]:
    """V_g of each task."""
    seeds, terms = len(sample.values), list[Term]()
    for table, freedom in zip(sample.tables, sample.freedom, strict=True):
        count = table.shape[1]
        if count < 2 or seeds < 2:
            continue
        residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
        variance = float((residual**2).sum()) / ((seeds - 1.0) * (count - 1.0))
        terms.append((variance / (seeds * count), (seeds - 1.0) * freedom))
    return terms


def _t_interval(mean: float, variance: float, terms: Sequence[Term], covers: str) -> Estimate:
    """Student's t around `mean`; without any spread the interval is a point."""
    terms = [(part, freedom) for part, freedom in terms if part > 0 and freedom > 0]
    # Rounding leaves 1e-34 instead of 0 where every value is equal.
    if variance <= 1e-24 or not terms:
        mean = 0.0 if abs(mean) < 1e-12 else mean
        return Estimate(mean, 0.0, mean, mean, 0.0 if mean else 1.0, None, covers)
    freedom = variance**2 / sum(part**2 / count for part, count in terms)
    freedom = max(freedom, min(count for _, count in terms))
    error = float(np.sqrt(variance))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, freedom))
    return Estimate(mean, error, mean - half, mean + half, p_value, float(freedom), covers)
