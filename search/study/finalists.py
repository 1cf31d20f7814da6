"""The second stage: retrains the best configurations with fresh seeds and chooses one per method.

Some configurations of each method race (`search/study/race.py`); only the one that is chosen is retrained with all seeds. The runs of
the race's last round are scored on test too, since the spread between configurations is part of what a comparison of methods does
not know. On request the published default is retrained, for comparison only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from search.config.study_config import StudyConfig
from search.storage.trials import FrozenTrial, TrialState
from search.study import race
from search.study.race import Role, choose
from search.study.records import Key, Records

TEST = "test"
"""Name of the fact that holds a trial's test scores."""
PROBE = "probe"
"""Name of the fact that holds a trial's costs, measured with nothing else running."""
TRIVIAL = "trivial"
"""Name of the study's fact that holds the test scores of answers that need no model; empty if there are none."""
MORE_SEEDS = "more_seeds"
"""Name of the study's fact about extra seeds; see `search/study/extra_seeds.py`."""


class Missing(NamedTuple):
    """A run of a promoted configuration that was not enqueued yet."""

    role: Role
    number: int
    seed_index: int


def seeds(study: Records, method: str) -> dict[int, int]:
    """How many seeds each promoted search trial gets, as far as is known: the race's, or all of them."""
    settings = study.config.finalists
    roles = race.promoted(study, method)
    found = dict.fromkeys(roles, 0) | race.race(study, method).seeds
    if settings.default and 0 in found:
        found[0] = settings.num_seeds
    chosen = choose(study, method)
    if chosen is not None:
        found[chosen] = planned_seeds(study, method)
    return found


def planned_seeds(study: Records, method: str) -> int:
    """The seeds of a method's chosen finalist: `num_seeds`, or more where extra seeds were decided on."""
    settings = study.config.finalists
    extra: dict[str, int] = (study.known_fact(MORE_SEEDS) or {}).get("seeds", {})
    return max(settings.num_seeds, min(extra.get(method, 0), settings.most_seeds))


def missing(study: Records, method: str) -> list[Missing]:
    """The runs of a method's promoted configurations that can start and are not enqueued yet."""
    there = {(t.user_attrs["from"], t.user_attrs["seed_index"]) for t in study.of(method, "finalists")}
    roles = race.promoted(study, method)
    return [
        Missing(roles[number], number, index)
        for number, count in seeds(study, method).items()
        for index in range(count)
        if (number, index) not in there
    ]


def expected(study: Records, method: str) -> int:
    """The number of runs that the method's second stage will have, as far as it can be told."""
    settings, rounds = study.config.finalists, race.rounds(study, method)
    if not (begun := len(study.of(method, "finalists"))):
        return settings.most_runs(rounds, study.config.search.trials_per_method)
    known, now = begun + len(missing(study, method)), race.race(study, method)
    return known + now.left + (settings.num_seeds - rounds[-1].seeds if now.last is None else 0)


def runs(study: Records, method: str) -> dict[int, list[FrozenTrial]]:
    """The retrained runs of each promoted search trial, by seed."""
    return race.runs(study, method, seeds(study, method))


def has_test(study: Records) -> bool:
    """Whether every task has a test split."""
    return all(task.data.test_split is not None for task in study.config.tasks)


def untested(study: Records) -> list[Key]:
    """The finalists' runs that still have to be scored on test."""
    if not has_test(study):
        return []
    done = study.facts_of_trials(TEST)
    return [key for method in study.config.methods for key in _to_test(study, method) if key not in done]


def _to_test(study: Records, method: str) -> list[Key]:
    """The complete runs of the chosen finalist, and those of the configuration that it raced in the last round."""
    chosen = choose(study, method)
    if chosen is None:
        return []
    counts = {chosen: planned_seeds(study, method)}
    if race.version(study, method) is not None:
        last = race.race(study, method).last or {}
        counts = {number: len(each) for number, each in last.items()} | counts
    return [
        Key(method, "finalists", trial.number)
        for each in race.runs(study, method, counts).values()
        for trial in each
        if trial.state == TrialState.COMPLETE
    ]


def predictions_path(config: StudyConfig, key: Key | str) -> Path:
    """The file with a run's predictions on test, or with the answers of TRIVIAL."""
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
