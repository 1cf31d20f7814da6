"""What result rows hold beside what the storage does."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.results import importances

SPACE = {
    "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
    "init": optuna.distributions.CategoricalDistribution(["vocab", "labels"]),
    "fixed": optuna.distributions.IntDistribution(4, 8),
}


def trials(count: int, state: TrialState = TrialState.COMPLETE, noise: float = 0.0) -> list[FrozenTrial]:
    """The score follows the learning rate; `init` alternates without effect, `fixed` stays."""
    found = []
    for number in range(count):
        params = {
            "learning_rate": 10 ** (-4 + 3 * number / count),
            "init": ["vocab", "labels"][number % 2],
            "fixed": 4,
        }
        values = [number / count + noise, 100.0] if state == TrialState.COMPLETE else None
        found.append(create_trial(state=state, params=params, distributions=SPACE, values=values))  # type: ignore[arg-type]
    return found


def test_what_moves_the_score_is_important() -> None:
    found = importances(trials(16), seed=3)
    assert found is not None
    assert list(found) == ["learning_rate", "init"]
    assert found["learning_rate"] > 0.8
    assert found == importances(trials(16), seed=3)


def test_too_few_complete_trials_have_no_importances() -> None:
    assert importances(trials(7), seed=0) is None
    assert importances(trials(7) + trials(5, TrialState.PRUNED), seed=0) is None


def test_where_nothing_varies_there_are_none() -> None:
    (one, *_) = trials(16)
    assert importances([one] * 12, seed=0) is None
