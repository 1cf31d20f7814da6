"""The second stage: retrains the best configurations with fresh seeds and chooses one per method.

The best validation score of a search is too high, because it was selected, so it alone decides nothing. For each
method two configurations are promoted: the best, and the cheapest within epsilon of it. Each is retrained with fresh
seeds. The means over these seeds choose one: the cheaper, if it is still within epsilon of the other. Only this one is
scored on the test split. On request the published default is retrained too, for comparison only.
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
"""Name of the fact that holds a trial's test scores."""
PROBE = "probe"
"""Name of the fact that holds a trial's costs, measured with nothing else running."""


class Missing(NamedTuple):
    """A run of a promoted configuration that was not enqueued yet."""

    role: Role
    number: int
    seed_index: int


def promote(trials: list[FrozenTrial], epsilon: float, default: bool = False) -> dict[int, Role]:
    """The promoted search trials by number, with the reason; empty if no trial is complete.

    With `default` the published default, which is the first trial, is promoted too, even if it was stopped early. Ties
    go to fewer deployed parameters, then to the lower number.
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
    """The promoted trials of a method, from its search trials as they are now."""
    settings = study.config.finalists
    return promote(study.of(method, "search"), settings.epsilon, settings.default)


def missing(study: Records, method: str) -> list[Missing]:
    """The runs of a method's promoted configurations that are not enqueued yet."""
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
    """The number of the search trial whose runs are scored on test; None if runs are missing or all have failed."""
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
    """The finalists' runs that still have to be scored on test."""
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
    """The file with the run's predictions on test."""
    return config.folder / "predictions" / f"{key}.parquet"


def unmeasured(study: Records) -> list[Key]:
    """The runs whose costs still have to be measured, one for each method."""
    done = study.facts_of_trials(PROBE)
    return [
        key for key in (probed(study, method) for method in study.config.methods) if key and key not in done
    ]


def probed(study: Records, method: str) -> Key | None:
    """The run on which a method's costs are measured: its chosen finalist's first complete one, or None.

    One is enough, since the runs differ only in their seeds.
    """
    number = choose(study, method)
    retrained = runs(study, method)[number] if number is not None else []
    done = [run.number for run in retrained if run.state == TrialState.COMPLETE]
    return Key(method, "finalists", min(done)) if done else None
