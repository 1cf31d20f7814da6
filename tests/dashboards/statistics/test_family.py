"""Questions that are answered together: Holm's method, and what composite claims need."""

from __future__ import annotations

import numpy as np
import pytest

from dashboards.statistics.family import Claims, Question, above, every, holm, some, told
from dashboards.statistics.joint import Estimate, Joint
from dashboards.statistics.sample import Sample


def joint(*means: float, noise: float = 0.001, seeds: int = 5) -> Joint:
    """Methods with these means, whose scores spread by the noise."""
    rng = np.random.default_rng(0)
    return Joint([Sample.of([mean + rng.normal(0, noise, (seeds, 50))]) for mean in means])


def test_holm_corrects_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_all_claims_of_all_questions_count() -> None:
    found = told(
        {"a": Question(0.009, (0.9,)), "b": Question(0.9, (0.02, 0.011)), "c": Question(0.9, (0.04,))}
    )
    assert [each.holds for each in found.values()] == [None, None, None], "0.009 is one of seven claims"
    assert [each.p_value for each in found.values()] == pytest.approx([0.063, 0.066, 0.16])
    found = told({"a": Question(0.001, (0.9,)), "b": Question(0.9, (0.012,))})
    assert (found["a"].holds, found["b"].holds) == (True, False)
    assert found["b"].p_value == pytest.approx(0.036), "the first is done, so three are left"


def test_better_and_equal_is_better() -> None:
    assert told({"a": Question(0.001, (0.9, 0.001))})["a"].holds is True


def test_parts_of_a_claim() -> None:
    assert (every([0.01, 0.2]), some([0.01, 0.2])) == (0.2, 0.02)
    assert some([0.7, 0.8]) == 1.0


def test_one_side_of_an_estimate() -> None:
    (found,) = [joint(0.5, 0.4, noise=0.05).difference(0, 1)]
    assert found.p_value is not None
    assert above(found) == pytest.approx(found.p_value / 2)
    assert above(found, found.mean) == pytest.approx(0.5)
    assert (above(Estimate(0.1, 0.0)), above(Estimate(0.1, 0.0), 0.2)) == (0.0, 1.0), "without any spread"


def test_the_highest_beats_each_and_another_one_of_many() -> None:
    asks = Claims(joint(0.9, 0.8, 0.9))
    assert told({"a": asks.highest(0, [1])})["a"].holds is True  # type: ignore[dict-item]
    assert told({"a": asks.highest(0, [1, 2])})["a"].holds is None  # type: ignore[dict-item]
    assert told({"a": asks.highest(1, [0, 2])})["a"].holds is False  # type: ignore[dict-item]
    noisy = Claims(joint(0.9, 0.88, 0.1, 0.1, noise=0.1))
    alone, of_many = noisy.highest(1, [0]), noisy.highest(1, [0, 2, 3])
    assert alone is not None
    assert of_many is not None
    assert of_many.fails[0] == pytest.approx(3 * alone.fails[0]), "any of the three could have come out above"


def test_the_cheapest_near_the_best() -> None:
    asks = Claims(joint(0.9, 0.905, 0.8))

    def said(one: int, prices: dict[int, float], epsilon: float = 0.01) -> bool | None:
        question = asks.cheapest_near(one, prices, epsilon)
        assert question is not None
        return told({"a": question})["a"].holds

    assert said(0, {0: 1.0, 1: 2.0, 2: 3.0}) is True
    assert said(0, {0: 2.0, 1: 1.0, 2: 3.0}) is False, "a cheaper one is near"
    assert said(0, {0: 2.0, 1: 2.0, 2: 2.0}) is True, "of equal prices none is cheaper"
    assert said(0, {0: 2.0, 1: 3.0, 2: 1.0}) is True, "the cheaper one is far"
    assert said(2, {0: 2.0, 1: 3.0, 2: 1.0}) is False
    assert said(0, {0: 1.0, 1: 2.0, 2: 3.0}, epsilon=0.005) is None, "at the border nothing is shown"
    assert asks.cheapest_near(0, {0: 1.0, 1: float("inf")}, 0.01) is None


def test_what_has_no_spread_is_no_question() -> None:
    assert Claims(joint(0.9, 0.1, seeds=1)).better(0, 1, 0.01) is None
    seeds_only = Joint([Sample(np.array([0.9, 0.91])), Sample(np.array([0.1, 0.11]))])
    assert Claims(seeds_only).highest(0, [1]) is None, "seeds alone show no difference"


def test_an_early_look_asks_for_more() -> None:
    pair = joint(0.9, 0.89, noise=0.03)
    late, early = Claims(pair).better(0, 1, 0.0), Claims(pair, level=0.005).better(0, 1, 0.0)
    assert late is not None
    assert early is not None
    assert early.holds == pytest.approx(10 * late.holds)
