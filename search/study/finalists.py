"""The second stage: which configurations are retrained with fresh seeds, and which of them is scored on test.

The best validation score of a search is too good by selection, so nothing is decided from it alone. Per method, two
configurations are promoted: the best, and the cheapest within epsilon of it. Each is retrained with fresh seeds. The
means over those seeds choose one: the cheaper, if it is still within epsilon of the other. Only that one is scored on
the test split. On request the published default is retrained too, for comparison: it is not chosen for being that.
"""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Literal, NamedTuple

from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from search.study.study import Study

Role = Literal["best", "cheapest", "default"]


class Missing(NamedTuple):
    """A run that a promotion asks for and that was not enqueued yet."""

    role: Role
    number: int
    seed_index: int


def promote(trials: list[FrozenTrial], epsilon: float, default: bool = False) -> dict[int, Role]:
    """Numbers of the promoted search trials, with the reason; empty if none was completed.

    The default is the first trial; with `default` it is promoted even if it was stopped early. Ties go to fewer deployed
    parameters, then to the lower number.
    """
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    if not done:
        return {}
    best = min(done, key=lambda t: (-t.values[0], t.values[1], t.number))
    close = [t for t in done if t.values[0] >= best.values[0] - epsilon]
    cheapest = min(close, key=lambda t: (t.values[1], -t.values[0], t.number))
    roles: dict[int, Role] = {best.number: "best"}
    if cheapest.values[1] < best.values[1]:
        roles[cheapest.number] = "cheapest"
    if default and trials[0].state != TrialState.FAIL:
        roles.setdefault(trials[0].number, "default")
    return roles


def promoted(study: Study, method: str) -> dict[int, Role]:
    """The promotions of a method, from its search trials as they are now."""
    settings = study.config.finalists
    return promote(study.of(method, "search"), settings.epsilon, settings.default)


def missing(study: Study, method: str) -> list[Missing]:
    """The runs that the promotions of a method ask for and that are not there."""
    there = {(t.user_attrs["from"], t.user_attrs["seed_index"]) for t in study.of(method, "finalists")}
    return [
        Missing(role, number, index)
        for number, role in promoted(study, method).items()
        for index in range(study.config.finalists.num_seeds)
        if (number, index) not in there
    ]


def runs(study: Study, method: str) -> dict[int, list[FrozenTrial]]:
    """The retrained runs of each promoted search trial, by seed."""
    found: dict[int, list[FrozenTrial]] = {number: [] for number in promoted(study, method)}
    for trial in study.of(method, "finalists"):
        if (
            trial.user_attrs["from"] in found
            and trial.user_attrs["seed_index"] < study.config.finalists.num_seeds
        ):
            found[trial.user_attrs["from"]].append(trial)
    return found


def choose(study: Study, method: str) -> int | None:
    """Number of the promoted search trial that is scored on test; None until all its runs have ended, or if all failed."""
    means: dict[int, float] = {}
    roles = promoted(study, method)
    for number, retrained in runs(study, method).items():
        if roles[number] == "default":
            continue
        if len(retrained) < study.config.finalists.num_seeds or not all(
            t.state.is_finished() for t in retrained
        ):
            return None
        scores = [t.values[0] for t in retrained if t.state == TrialState.COMPLETE]
        if scores:
            means[number] = mean(scores)
    if not means:
        return None
    search = study.of(method, "search")
    enough = max(means.values()) - study.config.finalists.epsilon
    close = [number for number in means if means[number] >= enough]
    return min(close, key=lambda number: (search[number].values[1], -means[number], number))
