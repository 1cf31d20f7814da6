"""How sure the test scores are, for new seeds AND new examples.

Notation: S seeds, E test examples of a task, T tasks. A method's test scores are a table y[s, e] with

    y[s, e] = mu + a[s] + b[e] + g[s, e]        (two-way random effects, one observation per cell)

where a is the luck of a training seed, b the difficulty of an example, g what is left. The score of a seed
is the mean over its examples (and the mean over tasks), and a test score is the mean over seeds. Its variance
for new seeds and new examples is  var(a)/S + var(b)/E + var(g)/(S E),  estimated by three terms:

    seeds         V_s = var_s(mean_e y) / S          expects  var(a)/S + var(g)/(S E)     S - 1 df
    examples      V_e = var_e(mean_s y) / E          expects  var(b)/E + var(g)/(S E)     E - 1 df
    interaction   V_g = var(residual) / (S E)        expects  var(g)/(S E)                (S - 1)(E - 1) df

    V = max(V_s - V_g, 0) + V_e

because both of the first terms count g once. For the difference of two methods A and B, seeds are
independent (a seed of A has nothing to do with the same number in B) and examples are the same, so

    V = max((V_s - V_g) of A + the same of B, 0) + var_e(mean_s y_A - mean_s y_B) / E

The last term pairs the examples: what both methods find hard cancels. With several tasks, V_e and V_g are
summed over tasks with weight 1/T^2 (examples of different tasks are independent); V_s already is of the mean
over tasks. Degrees of freedom: Satterthwaite,  V^2 / sum(V_i^2 / df_i), never below the smallest df_i. Where the seeds'
part comes out at 0 or less it adds nothing, and its terms are left out of the degrees of freedom too: with them,
intervals of methods whose seeds agree cover 98 % instead of 95 (benchmarks/coverage.py has the table).

Where no scores per example exist (the metric is no mean over examples), V = V_s: the usual t interval, or
Welch's for a difference. It covers new seeds only and says so in `Estimate.covers`.

Sources: Searle, Casella & McCulloch, Variance Components (1992), ch. 4; Satterthwaite, Biometrics Bulletin
2 (1946); Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021 (why both seeds
and data are sampled); Holm, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
Term = tuple[float, float]
"""A part of a variance, and its degrees of freedom."""

BOTH = "seeds and examples"
SEEDS = "seeds only"


@dataclass(frozen=True)
class Sample:
    """The test scores of one method.

    Attributes:
      values: [S] The score of each seed.
      examples: For each task, [S, E] the score of each seed on each example; empty where there are none.
    """

    values: FloatArray
    examples: tuple[FloatArray, ...] = ()

    @classmethod
    def of(cls, matrix: Sequence[Sequence[float]] | FloatArray) -> Sample:
        """One task's scores, [S, E]."""
        scores = np.asarray(matrix, dtype=np.float64)
        return cls(scores.mean(axis=1), (scores,))


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference of means, with its interval.

    `ci_low`, `ci_high`, `p_value` (two-sided, against 0) and `degrees_of_freedom` are None where a spread
    was not measured: one seed has none. `covers` says what the interval generalizes to.
    """

    mean: float
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    degrees_of_freedom: float | None = None
    covers: str | None = None


def mean_interval(sample: Sample, level: float = 0.95) -> Estimate:
    """The test mean of one method and its interval."""
    mean = float(sample.values.mean())
    if len(sample.values) < 2:
        return Estimate(mean)
    examples = [scores.mean(axis=0) for scores in sample.examples]
    covers = BOTH if examples else SEEDS
    return _t_interval(mean, _seed_variance(sample), _example_terms(examples), covers, level)


def difference(a: Sample, b: Sample, level: float = 0.95) -> Estimate:
    """The mean of `a` minus that of `b`. Examples are paired, seeds independent.

    Falls back to seeds only (Welch's t) where the two were not scored on the same examples.
    """
    mean = float(a.values.mean() - b.values.mean())
    if min(len(a.values), len(b.values)) < 2:
        return Estimate(mean)
    widths = [[scores.shape[1] for scores in sample.examples] for sample in (a, b)]
    if widths[0] != widths[1] or not widths[0]:
        a, b = Sample(a.values), Sample(b.values)
    examples = [x.mean(axis=0) - y.mean(axis=0) for x, y in zip(a.examples, b.examples, strict=True)]
    covers = BOTH if examples else SEEDS
    (of_a, terms_a), (of_b, terms_b) = _seed_variance(a), _seed_variance(b)
    seeds = of_a + of_b, [*terms_a, *terms_b]
    return _t_interval(mean, seeds, _example_terms(examples), covers, level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _seed_variance(sample: Sample) -> tuple[float, list[Term]]:
    """V_s - V_g and its terms. It may come out below 0."""
    seeds, tasks = len(sample.values), len(sample.examples)
    from_seeds = float(sample.values.var(ddof=1)) / seeds
    terms = [(from_seeds, seeds - 1.0)]
    for scores in sample.examples:
        count = scores.shape[1]
        if count < 2:
            continue
        residual = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
        freedom = (seeds - 1.0) * (count - 1.0)
        terms.append((float((residual**2).sum()) / freedom / (seeds * count) / tasks**2, freedom))
    return from_seeds - sum(part for part, _ in terms[1:]), terms


def _example_terms(examples: Sequence[FloatArray]) -> list[Term]:
    """V_e of each task, from means over seeds [E]."""
    return [
        (float(scores.var(ddof=1)) / len(scores) / len(examples) ** 2, len(scores) - 1.0)
        for scores in examples
        if len(scores) > 1
    ]


def _t_interval(
    mean: float, seeds: tuple[float, list[Term]], examples: list[Term], covers: str, level: float
) -> Estimate:
    """Student's t around `mean`; without any spread the interval is a point."""
    seed_variance, seed_terms = seeds if seeds[0] > 0 else (0.0, [])
    variance = seed_variance + sum(part for part, _ in examples)
    terms = [(part, freedom) for part, freedom in (*seed_terms, *examples) if part > 0]
    # Rounding leaves 1e-34 instead of 0 where every value is equal.
    if variance <= 1e-24 or not terms:
        return Estimate(mean, mean, mean, 1.0 if abs(mean) < 1e-12 else 0.0, None, covers)
    freedom = variance**2 / sum(part**2 / count for part, count in terms)
    freedom = max(freedom, min(count for _, count in terms))
    error = float(np.sqrt(variance))
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, freedom))
    return Estimate(mean, mean - half, mean + half, p_value, float(freedom), covers)
