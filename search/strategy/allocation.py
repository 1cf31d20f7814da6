"""Drops methods that cannot reach the best, for `search.allocation: adaptive`.

Li et al. (2020), "Efficient Automatic CASH via Rising Bandits", https://arxiv.org/abs/2012.04371: a method's best
score rises more and more slowly, so if it kept rising as it did lately, it could at most reach

    bound = best + slope * (trials that are left)

A method is dropped if its bound is below the best score of another. Differences from the paper: every method gets half
of its equal share before it can be dropped; the slope is taken over the second half of its trials; and a difference
below epsilon drops no method, since it is noise or does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Elimination:
    """Why a method is dropped: after `trials` trials its `bound` is below the `leader_score` of the `leader`."""

    trials: int
    best: float
    bound: float
    leader: str
    leader_score: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"after {self.trials} trials its best score is {self.best:.3f} and can rise to about {self.bound:.3f} at most, "
            f"below the {self.leader_score:.3f} of {self.leader}"
        )


def share(trials_per_method: int) -> int:
    """The number of trials that every method gets before it can be dropped."""
    return -(-trials_per_method // 2)


def bound(scores: Sequence[float | None], left: int) -> float | None:
    """An upper bound for the best score that a method could reach.

    Args:
        scores: the scores of its ended trials in order; None for a trial that was stopped early or failed.
        left: how many trials it could still get.

    Returns:
        The bound; None without enough scores.
    """
    before = _best(scores[: len(scores) // 2])
    now = _best(scores)
    if now is None or before is None:
        return None
    return now + (now - before) / (len(scores) - len(scores) // 2) * left


def eliminated(
    scores: Mapping[str, Sequence[float | None]], trials_per_method: int, left: int, epsilon: float
) -> dict[str, Elimination]:
    """Finds the methods that can no longer reach the leader.

    Args:
        scores: each method's scores, as for `bound`.
        trials_per_method: the equal share of a method.
        left: trials of all methods that have not started.
        epsilon: the difference in score that does not matter.
    """
    reached = {method: best for method, mine in scores.items() if (best := _best(mine)) is not None}
    if not reached:
        return {}
    leader = max(reached, key=lambda method: reached[method])
    found = {}
    for method, mine in scores.items():
        limit = bound(mine, left)
        if method == leader or limit is None or len(mine) < share(trials_per_method):
            continue
        if limit < reached[leader] - epsilon:
            found[method] = Elimination(len(mine), reached[method], limit, leader, reached[leader])
    return found


def _best(scores: Sequence[float | None]) -> float | None:
    return max((score for score in scores if score is not None), default=None)
