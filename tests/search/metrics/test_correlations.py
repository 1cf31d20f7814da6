"""Correlations equal scipy's, and their pseudo-values what leaving an example out does."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import stats

from search.metrics.correlations import pearson, spearman
from tests.search.metrics.by_hand import pseudo_values


def of_scipy(name: str) -> Any:
    def correlation(right: Any, given: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = float(getattr(stats, name)(right, given).statistic)
        return 0.0 if np.isnan(found) else found

    return correlation


def numbers(seed: int, count: int, ties: bool = False) -> tuple[list[float], list[float]]:
    generator = np.random.default_rng(seed)
    right = generator.normal(3, 2, count)
    given = right + generator.normal(0, 2, count) + generator.exponential(1, count)
    return (np.round(right).tolist(), np.round(given).tolist()) if ties else (right.tolist(), given.tolist())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_pearson(seed: int, ties: bool) -> None:
    right, given = numbers(seed, 80, ties)
    found = pearson(right, given)
    assert found.value == pytest.approx(of_scipy("pearsonr")(right, given), abs=1e-12)
    assert found.examples == pytest.approx(pseudo_values(of_scipy("pearsonr"), right, given), abs=1e-8)


def test_pearson_where_one_example_has_nearly_all_the_spread() -> None:
    right, given = [1.0, 2.0, 3.0, 1e9], [2.0, 1.0, 4.0, 1e9]
    assert pearson(right, given).examples == pytest.approx(
        pseudo_values(of_scipy("pearsonr"), right, given), abs=1e-6
    )
    right, given = [1.0, 1.0, 1.0, 5.0], [2.0, 1.0, 4.0, 3.0]
    assert pearson(right, given).examples == pytest.approx(
        pseudo_values(of_scipy("pearsonr"), right, given), abs=1e-9
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_the_jackknifes_up_to_one_over_the_examples(seed: int, ties: bool) -> None:
    apart = {}
    for count in (50, 400):
        right, given = numbers(seed, count, ties)
        found = spearman(right, given)
        assert found.value == pytest.approx(of_scipy("spearmanr")(right, given), abs=1e-12)
        assert np.mean(found.examples) == pytest.approx(found.value, abs=1e-12)
        expected = np.array(pseudo_values(of_scipy("spearmanr"), right, given))
        apart[count] = np.abs(found.examples - expected).max()
        assert apart[count] < 10 / count
    assert apart[400] < apart[50] / 3


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_a_constant_has_no_correlation(metric: Any) -> None:
    for right, given in (([1.0, 2, 3], [0.1] * 3), ([5.0] * 3, [1.0, 2, 4]), ([1.0], [2.0])):
        found = metric(right, given)
        assert (found.value, found.examples) == (0, [0] * len(right))


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_the_pseudo_values_have_the_variance_of_the_metric(metric: Any) -> None:
    """Over many splits of 200 examples the metric varies as one split's pseudo-values say."""
    found = [metric(*numbers(seed, 200)) for seed in range(300)]
    told = np.mean([np.var(one.examples, ddof=1) / 200 for one in found])
    assert told == pytest.approx(np.var([one.value for one in found], ddof=1), rel=0.3)
