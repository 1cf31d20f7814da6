"""What a stored trial says: its evaluations, its scores, and what a search sees of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from methods.space import Scalar
from search.storage.trials import STEP, FrozenTrial, TrialState
from search.strategy import expectation


def curve(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """The trial's evaluations by step, ascending."""
    found = {
        int(name[len(STEP) :]): value for name, value in trial.user_attrs.items() if name.startswith(STEP)
    }
    return dict(sorted(found.items()))


def scores(trial: FrozenTrial) -> dict[int, float]:
    """The trial's validation scores by step."""
    return {step: evaluation["validation"] for step, evaluation in curve(trial).items()}


def chance(trial: FrozenTrial) -> float:
    """The score up to which a trial has not shown that it learned anything; -inf if it is not known.

    It lies two standard errors above the trivial answer's score.
    """
    known = known_of(trial)
    trivial, error = known.get("trivial"), known.get("standard_error")
    return -math.inf if trivial is None or error is None else float(trivial + 2 * error)


def ended(trial: FrozenTrial, defaults: Mapping[str, Scalar]) -> expectation.Ended:
    """As the trials of a search are looked at; one that failed has no curve."""
    score = trial.values[0] if trial.state == TrialState.COMPLETE else None
    seen = {} if trial.state == TrialState.FAIL else scores(trial)
    return expectation.Ended(trial.number, {**defaults, **trial.params}, score, seen, chance(trial))


def known_of(trial: FrozenTrial) -> dict[str, Any]:
    """The values of a trial's last evaluation, together with its facts."""
    done = curve(trial)
    return {**(done[max(done)] if done else {}), **trial.user_attrs}


def loss_weights(facts: Mapping[str, Any]) -> dict[str, float]:
    """Each task's share of the loss, from a trial's facts, as `loss_weight.<task>`; empty for a single task."""
    weights: dict[str, float] = facts["loss_weights"]
    return {f"loss_weight.{task}": share for task, share in weights.items()} if len(weights) > 1 else {}
