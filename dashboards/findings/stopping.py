"""Did early stopping stop the wrong trials?

A check is a step at which trials of the method were stopped. Trials that went on to the end show
what the score there is worth. How a stopped trial would have ended is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy import stats

from dashboards.rows import Trial, finite

ENOUGH = 4
"""Complete trials that a rank correlation needs."""


def checks(trials: Sequence[Trial], best: int | None) -> list[dict[str, Any]]:
    """One entry per step at which trials were stopped.

    Args:
        trials: of one method.
        best: number of its best trial.

    Returns:
        For each `step`: how many `reached` it and were `stopped` there; `correlation`, Spearman's between the value
        there and at the end over `completed` trials; `best_rank`, the place of the best trial among those that reached
        that step (1: first); `stopped_ahead`, stopped trials that were ahead of it there.
    """
    steps = {_last(trial) for trial in trials if trial["state"] == "PRUNED"} - {None}
    return [_check(trials, step, best) for step in sorted(step for step in steps if step is not None)]


def _check(trials: Sequence[Trial], step: int, best: int | None) -> dict[str, Any]:
    reached = [(trial, value) for trial in trials if (value := _at(trial, step)) is not None]
    complete = [(value, t["validation"]) for t, value in reached if t["state"] == "COMPLETE"]
    pairs = [(value, end) for value, end in complete if finite(end)]
    stopped = [
        (trial, value) for trial, value in reached if trial["state"] == "PRUNED" and _last(trial) == step
    ]
    own = next((value for trial, value in reached if trial["number"] == best), None)
    return {
        "step": step,
        "reached": len(reached),
        "stopped": len(stopped),
        "completed": len(pairs),
        "correlation": _spearman(pairs),
        "best_rank": None if own is None else 1 + sum(value > own for _, value in reached),
        "stopped_ahead": None if own is None else sum(value > own for _, value in stopped),
    }


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """None for few trials, or where one side does not vary."""
    if len(pairs) < ENOUGH or any(len(set(side)) < 2 for side in zip(*pairs, strict=True)):
        return None
    early, ends = zip(*pairs, strict=True)
    return float(stats.spearmanr(early, ends).statistic)


def _at(trial: Trial, step: int) -> float | None:
    """The validation score of a trial at a step."""
    for point in trial.get("curve") or []:
        value = point["validation"]
        if point["step"] == step and finite(value):
            return value
    return None


def _last(trial: Trial) -> int | None:
    return max((point["step"] for point in trial.get("curve") or []), default=None)
