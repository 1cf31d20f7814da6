"""Computes how much each hyperparameter mattered (fANOVA)."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.config.spaces import LOSS_WEIGHT

ENOUGH_TRIALS = 8
"""Complete trials that are needed; with fewer, importances would be noise."""


def importances(trials: Sequence[FrozenTrial], seed: int) -> dict[str, float] | None:
    """Computes each hyperparameter's share of the variance of the validation score, largest first.

    Hutter et al. (2014), "An Efficient Approach for Assessing Hyperparameter Importance" (fANOVA), over the complete
    trials of one method. A hyperparameter that applies only to some trials gets its share among those.

    Returns:
        The shares; None if fewer than `ENOUGH_TRIALS` trials are complete, or if no hyperparameter or no score varies.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    applying = {
        name: [trial for trial in complete if _applies(trial, name)]
        for name in dict.fromkeys(name for trial in complete for name in trial.params)
    }
    found = _shares(complete, [name for name in applying if len(applying[name]) == len(complete)], seed)
    for name, own in applying.items():
        if len(own) < len(complete):
            beside = [other for other in applying if all(_applies(trial, other) for trial in own)]
            found |= {key: share for key, share in _shares(own, beside, seed).items() if key == name}
    return dict(sorted(found.items(), key=lambda item: -item[1])) or None


def _applies(trial: FrozenTrial, name: str) -> bool:
    """Whether a sampled hyperparameter has an effect on the trial."""
    return name.startswith(LOSS_WEIGHT) or name in trial.user_attrs["config"]


def _shares(complete: Sequence[FrozenTrial], names: Sequence[str], seed: int) -> dict[str, float]:
    """Runs fANOVA over trials to which all names apply; empty if nothing varies or there are too few trials."""
    varied = {name for name in names if len({repr(trial.params[name]) for trial in complete}) > 1}
    if len(complete) < ENOUGH_TRIALS or not varied or len({trial.values[0] for trial in complete}) < 2:
        return {}
    table = optuna.create_study(direction="maximize")
    for trial in complete:
        table.add_trial(
            optuna.trial.create_trial(
                params={name: trial.params[name] for name in names},
                distributions={name: trial.distributions[name] for name in names},
                value=trial.values[0],
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return optuna.importance.get_param_importances(table, evaluator=evaluator, params=sorted(varied))
