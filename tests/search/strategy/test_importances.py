"""How much each hyperparameter mattered."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.strategy.importances import importances

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
        facts = {"config": params}
        found.append(
            create_trial(state=state, params=params, distributions=SPACE, values=values, user_attrs=facts)  # type: ignore[arg-type]
        )
    return found


def test_what_moves_the_score_is_important() -> None:
    found = importances(trials(16), seed=3)
    assert found is not None
    assert list(found) == ["learning_rate", "init"]
    assert found["learning_rate"] > 0.8
    assert found == importances(trials(16), seed=3)


def test_what_applies_to_some_trials_only_is_important_among_those() -> None:
    """`init` makes all the difference where it applies, which is in every other trial, and none elsewhere."""
    made = []
    for number, trial in enumerate(trials(40)):
        applies, labels = number % 2 == 0, number % 4 < 2
        params = {**trial.params, "init": "labels" if labels else "vocab"}
        score = (1.0 if labels else 0.0) if applies else 0.5
        config = params if applies else {name: value for name, value in params.items() if name != "init"}
        made.append(
            create_trial(
                params=params, distributions=SPACE, values=[score, 100.0], user_attrs={"config": config}
            )
        )
    found = importances(made, seed=3)
    assert found is not None
    assert found["init"] > 0.9
    few = importances(
        [trial for trial in made if "init" not in trial.user_attrs["config"]] + made[:12], seed=3
    )
    assert few is not None
    assert "init" not in few, "six trials are too few"


def test_too_few_complete_trials_have_no_importances() -> None:
    assert importances(trials(7), seed=0) is None
    assert importances(trials(7) + trials(5, TrialState.PRUNED), seed=0) is None


def test_where_nothing_varies_there_are_none() -> None:
    (one, *_) = trials(16)
    assert importances([one] * 12, seed=0) is None
