"""What is to be expected of configurations that were tried: of trials that were stopped, and of lucky ones."""

from __future__ import annotations

import random

import pytest
from optuna.distributions import FloatDistribution

from search.strategy.expectation import Ended, expected_of_complete, expected_scores

RATE = {"rate": FloatDistribution(0, 1)}


def test_a_trial_that_was_stopped_counts_with_what_it_would_have_reached() -> None:
    trials = [
        Ended(0, {}, 0.8, {10: 0.6, 20: 0.7, 30: 0.8}),
        Ended(1, {}, 0.7, {10: 0.6, 20: 0.6, 30: 0.7}),
        Ended(2, {}, None, {10: 0.4}),
        Ended(3, {}, None, {}),
    ]
    assert expected_scores(trials) == pytest.approx({0: 0.8, 1: 0.7, 2: 0.55, 3: 0.55})
    assert expected_scores(trials[3:]) == {}


def test_scores_that_show_nothing_learned_are_equal() -> None:
    """0.54 is two standard errors above the most frequent label; what lies below it differs by noise."""
    trials = [
        Ended(0, {}, 0.49, {10: 0.50}, 0.54),
        Ended(1, {}, 0.52, {10: 0.51}, 0.53),
        Ended(2, {}, 0.70, {10: 0.60}, 0.53),
        Ended(3, {}, None, {10: 0.40}, 0.54),
        Ended(4, {}, None, {}),
    ]
    assert expected_scores(trials) == {0: 0.54, 1: 0.54, 2: 0.70, 3: 0.54, 4: 0.54}


def test_a_lucky_trial_among_bad_ones_is_not_the_best() -> None:
    """Scores fall from 0.8 at the left; one at the right was lucky by 0.06."""
    places = [n / 20 for n in range(21)]
    noise = random.Random(0)
    score = {n: 0.8 - 0.3 * place + noise.gauss(0, 0.01) for n, place in enumerate(places)}
    score[16] = max(score.values()) + 0.06
    trials = [Ended(n, {"rate": place}, score[n], {}) for n, place in enumerate(places)]
    means = expected_of_complete(trials, RATE)
    assert max(score, key=score.__getitem__) == 16
    assert max(means, key=means.__getitem__) < 5


def test_only_complete_trials_are_answered_for() -> None:
    trials = [
        Ended(0, {"rate": 0.1}, 0.7, {}),
        Ended(1, {"rate": 0.5}, None, {5: 0.9}),
        Ended(2, {"rate": 0.9}, 0.6, {}),
    ]
    assert set(expected_of_complete(trials, RATE)) == {0, 2}
    assert expected_of_complete(trials[1:2], RATE) == {}
    assert expected_of_complete([Ended(0, {}, 0.7, {})], {}) == {0: 0.7}


def test_of_many_trials_the_best_stay() -> None:
    trials = [Ended(n, {"rate": n / 400}, 1.0 if n == 3 else 0.5, {}) for n in range(400)]
    means = expected_of_complete(trials, RATE)
    assert 3 in means
    assert len(means) == 80
