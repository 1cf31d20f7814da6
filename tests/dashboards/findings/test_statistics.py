"""The statistics, against scipy, by hand, and in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage
from dashboards.findings.statistics import BOTH, SEEDS, Sample, difference, holm, mean_interval

SCORES = [0.81, 0.84, 0.86, 0.83, 0.80]


def test_one_example_is_the_t_interval_over_seeds() -> None:
    found = mean_interval(Sample.of([[score] for score in SCORES]))
    low, high = stats.t.interval(0.95, 4, loc=np.mean(SCORES), scale=stats.sem(SCORES))
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    assert found.degrees_of_freedom == pytest.approx(4)


def test_examples_that_do_not_vary_leave_the_t_interval_over_seeds() -> None:
    found = mean_interval(Sample.of(np.tile(np.array(SCORES)[:, None], (1, 50))))
    assert found.ci_low == pytest.approx(stats.t.interval(0.95, 4, np.mean(SCORES), stats.sem(SCORES))[0])


def test_seeds_that_agree_leave_the_t_interval_over_examples() -> None:
    examples = np.random.default_rng(0).random(40)
    found = mean_interval(Sample.of(np.tile(examples, (3, 1))))
    low, high = stats.t.interval(0.95, 39, examples.mean(), stats.sem(examples))
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    assert found.covers == BOTH


def test_without_examples_it_is_the_t_interval_and_says_so() -> None:
    found = mean_interval(Sample(np.array(SCORES)))
    assert found.ci_high == pytest.approx(stats.t.interval(0.95, 4, np.mean(SCORES), stats.sem(SCORES))[1])
    assert found.covers == SEEDS


def test_crossed_variance_by_hand() -> None:
    # Seed means 3/4, 1/4; example means 1, 1/2, 0, 1/2; every residual is 1/4 or -1/4.
    found = mean_interval(Sample.of([[1, 1, 0, 1], [1, 0, 0, 0]]))
    seeds, examples, interaction = (1 / 8) / 2, (1 / 6) / 4, (8 / 16) / 3 / 8
    variance = seeds - interaction + examples
    freedom = variance**2 / (seeds**2 / 1 + examples**2 / 3 + interaction**2 / 3)
    assert found.mean == pytest.approx(0.5)
    assert found.degrees_of_freedom == pytest.approx(freedom)
    assert found.ci_high == pytest.approx(0.5 + stats.t.ppf(0.975, freedom) * variance**0.5)


def test_seeds_that_differ_by_noise_alone_add_nothing() -> None:
    # Both seeds have 2/3; the example means 1, 1/2, 1/2 have the variance 1/12.
    found = mean_interval(Sample.of([[1, 0, 1], [1, 1, 0]]))
    assert found.degrees_of_freedom == pytest.approx(2)
    assert found.ci_high == pytest.approx(2 / 3 + stats.t.ppf(0.975, 2) * (1 / 36) ** 0.5)


def test_difference_without_examples_is_welch() -> None:
    a, b = [0.81, 0.84, 0.86, 0.83, 0.80], [0.75, 0.79, 0.77]
    found = difference(Sample(np.array(a)), Sample(np.array(b)))
    welch = stats.ttest_ind(a, b, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert found.p_value == pytest.approx(welch.pvalue)
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))


def test_difference_with_seeds_that_agree_is_the_paired_t_test_over_examples() -> None:
    rng = np.random.default_rng(1)
    a = rng.random(60)
    b = a + rng.normal(0.02, 0.05, 60)
    found = difference(Sample.of(np.tile(a, (5, 1))), Sample.of(np.tile(b, (5, 1))))
    assert found.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_pairing_examples_helps() -> None:
    hard = np.random.default_rng(2).normal(0, 1, 100)
    a = Sample.of([hard + 0.1 + 0.01 * seed for seed in range(5)])
    b = Sample.of([hard + 0.01 * seed for seed in range(5)])
    other = Sample.of([hard[::-1] + 0.01 * seed for seed in range(5)])
    paired, crossed = difference(a, b), difference(a, other)
    assert paired.ci_low is not None
    assert paired.ci_low > 0
    assert crossed.ci_low is not None
    assert crossed.ci_low < 0


def test_one_seed_is_not_measured() -> None:
    one, five = Sample.of([[1, 0, 1]]), Sample.of(np.eye(5, 3))
    for found in (mean_interval(one), difference(one, five), difference(five, one)):
        assert (found.ci_low, found.ci_high, found.p_value, found.covers) == (None, None, None, None)


def test_no_spread_at_all() -> None:
    ones = Sample.of(np.ones((3, 10)))
    assert (mean_interval(ones).ci_low, mean_interval(ones).ci_high) == (1.0, 1.0)
    assert difference(ones, ones).p_value == 1.0
    assert difference(ones, Sample.of(np.zeros((3, 10)))).p_value == 0.0


def test_equal_tables_show_no_difference() -> None:
    table = (np.random.default_rng(3).random((5, 80)) < 0.8).astype(float)
    found = difference(Sample.of(table), Sample.of(table))
    assert found.mean == 0
    assert found.p_value == pytest.approx(1.0)
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.ci_low <= 0 <= found.ci_high


def test_other_examples_fall_back_to_seeds() -> None:
    assert difference(Sample.of(np.eye(5, 30)), Sample.of(np.eye(5, 40))).covers == SEEDS


def test_two_tasks_are_weighted_equally() -> None:
    rng = np.random.default_rng(4)
    small, large = rng.random((5, 10)), rng.random((5, 1000))
    values = (small.mean(axis=1) + large.mean(axis=1)) / 2
    found = mean_interval(Sample(values, (small, large)))
    assert found.mean == pytest.approx((small.mean() + large.mean()) / 2)
    alone = mean_interval(Sample.of(small))
    assert found.ci_high is not None
    assert alone.ci_high is not None
    assert found.ci_high - found.mean < 0.75 * (alone.ci_high - alone.mean)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("seed_std", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("example_std", [0.05, 0.3])
def test_coverage(seed_std: float, example_std: float) -> None:
    """Coverage is 93 to 97 %, and two standard errors of the simulation."""
    found = coverage.coverage(coverage.Cell(5, 200, seed_std, example_std), rounds=600, seed=5)
    slack = 2 * (0.95 * 0.05 / 600) ** 0.5
    for name, share in found.items():
        assert 0.93 - slack <= share <= 0.97 + slack, (name, share)


def test_equal_methods_seldom_differ() -> None:
    assert coverage.false_claims(coverage.Cell(5, 100, 0.03, 0.3), rounds=200, seed=6) <= 0.05
