"""Which methods are still in the race, for `search.allocation: adaptive`.

Li et al. (2020), "Efficient Automatic CASH via Rising Bandits", https://arxiv.org/abs/2012.04371: a method's best score so
far rises ever more slowly, so if it went on rising as it did lately, it could at most reach

    bound = best + slope * (trials that are left)

and a method whose bound is below the best score of another is out. What differs: every method has half of its equal
share before it can be out; the slope is taken over the latter half of its trials; and a difference below epsilon, which
is noise or does not matter, puts nobody out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Elimination:
    """Why a method gets no more trials: after `trials` its `bound` is below what `leader` has, `leader_score`."""

    trials: int
    best: float
    bound: float
    leader: str
    leader_score: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"after {self.trials} trials its best {self.best:.3f} could rise to {self.bound:.3f} at most, "
            f"below the {self.leader_score:.3f} of {self.leader}"
        )


def share(trials_per_method: int) -> int:
    """Trials that every method has for certain."""
    return -(-trials_per_method // 2)


def bound(scores: Sequence[float | None], left: int) -> float | None:
    """The best score that a method could reach.

    Args:
        scores: of its ended trials in their order; None for one that was stopped early or failed.
        left: trials that it could still have.

    Returns:
        None without a score.
    """
    before = _best(scores[: len(scores) // 2])
    now = _best(scores)
    if now is None or before is None:
        return None
    return now + (now - before) / (len(scores) - len(scores) // 2) * left


def eliminated(
    scores: Mapping[str, Sequence[float | None]], trials_per_method: int, left: int, epsilon: float
) -> dict[str, Elimination]:
    """The methods that cannot reach the leader any more.

    Args:
        scores: of every method, as for `bound`.
        trials_per_method: an equal share.
        left: trials of all methods that were not handed out.
        epsilon: difference in score that does not matter.
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
