"""The second stage: which configurations are retrained with fresh seeds, and which of them is scored on test.

The best validation score of a search is too good by selection, so nothing is decided from it alone. Per method, two
configurations are promoted: the best, and the cheapest within epsilon of it. Each is retrained with fresh seeds. The
means over those seeds choose one: the cheaper, if it is still within epsilon of the other. Only that one is scored on
the test split. On request the published default is retrained too, for comparison: it is not chosen for being that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Literal, NamedTuple

from search.config.study_config import StudyConfig
from search.storage.trials import FrozenTrial, TrialState
from search.study.records import Key, Records

Role = Literal["best", "cheapest", "default"]

TEST = "test"
"""The fact of a trial that holds its test scores."""
PROBE = "probe"
"""The fact of a trial that holds its costs, measured alone."""


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


def promoted(study: Records, method: str) -> dict[int, Role]:
    """The promotions of a method, from its search trials as they are now."""
    settings = study.config.finalists
    return promote(study.of(method, "search"), settings.epsilon, settings.default)


def missing(study: Records, method: str) -> list[Missing]:
    """The runs that the promotions of a method ask for and that are not there."""
    there = {(t.user_attrs["from"], t.user_attrs["seed_index"]) for t in study.of(method, "finalists")}
    return [
        Missing(role, number, index)
        for number, role in promoted(study, method).items()
        for index in range(study.config.finalists.num_seeds)
        if (number, index) not in there
    ]


def runs(study: Records, method: str) -> dict[int, list[FrozenTrial]]:
    """The retrained runs of each promoted search trial, by seed."""
    found: dict[int, list[FrozenTrial]] = {number: [] for number in promoted(study, method)}
    for trial in study.of(method, "finalists"):
        if (
            trial.user_attrs["from"] in found
            and trial.user_attrs["seed_index"] < study.config.finalists.num_seeds
        ):
            found[trial.user_attrs["from"]].append(trial)
    return found


def choose(study: Records, method: str) -> int | None:
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


def untested(study: Records) -> list[Key]:
    """Finalists' runs that are to be scored on test and have not been."""
    if any(task.data.test_split is None for task in study.config.tasks):
        return []
    done = study.facts_of_trials(TEST)
    return [key for key in chosen_runs(study) if key not in done]


def chosen_runs(study: Records) -> Iterator[Key]:
    """The completed runs of each method's chosen finalist."""
    for method in study.config.methods:
        number = choose(study, method)
        if number is not None:
            for trial in runs(study, method)[number]:
                if trial.state == TrialState.COMPLETE:
                    yield Key(method, "finalists", trial.number)


def predictions_path(config: StudyConfig, key: Key) -> Path:
    """Where the run's predictions on test are."""
    return config.folder / "predictions" / f"{key}.parquet"


def unmeasured(study: Records) -> list[Key]:
    """Of each method's chosen finalist the first completed run, where it was not probed."""
    done = study.facts_of_trials(PROBE)
    return [
        key for key in (probed(study, method) for method in study.config.methods) if key and key not in done
    ]


def probed(study: Records, method: str) -> Key | None:
    """The run that stands for a method's chosen finalist; its runs differ in their seeds only."""
    number = choose(study, method)
    retrained = runs(study, method)[number] if number is not None else []
    done = [run.number for run in retrained if run.state == TrialState.COMPLETE]
    return Key(method, "finalists", min(done)) if done else None
