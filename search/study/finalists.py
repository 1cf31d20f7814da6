"""The second stage: retrains the best configurations with fresh seeds and chooses one per method.

The best validation score of a search is too high, because it was selected, so it alone decides nothing. For each
method two configurations are promoted: the best, and the cheapest within epsilon of it or else the second best. They race with
a few fresh seeds. The means over these seeds choose one: the cheaper, if it is still within epsilon of the other. Only this
one is retrained with all seeds. The runs of the race are scored on test too, since the spread between configurations is part
of what a comparison of methods does not know. On request the published default is retrained, for comparison only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Literal, NamedTuple

from search.config.study_config import StudyConfig
from search.storage.trials import FrozenTrial, TrialState
from search.study.records import Key, Records

Role = Literal["best", "cheapest", "runner_up", "default"]

TEST = "test"
"""Name of the fact that holds a trial's test scores."""
PROBE = "probe"
"""Name of the fact that holds a trial's costs, measured with nothing else running."""
TRIVIAL = "trivial"
"""Name of the study's fact that holds the test scores of answers that need no model; empty if there are none."""
MORE_SEEDS = "more_seeds"
"""Name of the study's fact about extra seeds; see `search/study/extra_seeds.py`."""
RACE = "race"
"""Name of the fact of a run whose configuration races. An earlier version trained all promoted ones with every seed."""


class Missing(NamedTuple):
    """A run of a promoted configuration that was not enqueued yet."""

    role: Role
    number: int
    seed_index: int


def promote(
    trials: list[FrozenTrial], epsilon: float, default: bool = False, runner_up: bool = True
) -> dict[int, Role]:
    """The promoted search trials by number, with the reason; empty if no trial is complete.

    With `runner_up` there are two if two trials are complete. With `default` the published default, which is the first trial,
    is promoted too, even if it was stopped early. Ties go to fewer deployed parameters, then to the lower number.
    """
    done = sorted(
        (t for t in trials if t.state == TrialState.COMPLETE),
        key=lambda t: (-t.values[0], t.values[1], t.number),
    )
    if not done:
        return {}
    best = done[0]
    close = [t for t in done if t.values[0] >= best.values[0] - epsilon]
    cheapest = min(close, key=lambda t: (t.values[1], -t.values[0], t.number))
    roles: dict[int, Role] = {best.number: "best"}
    if cheapest.values[1] < best.values[1]:
        roles[cheapest.number] = "cheapest"
    elif runner_up and len(done) > 1:
        roles[done[1].number] = "runner_up"
    if default and trials[0].state != TrialState.FAIL:
        roles.setdefault(trials[0].number, "default")
    return roles


def promoted(study: Records, method: str) -> dict[int, Role]:
    """The promoted trials of a method, from its search trials as they are now."""
    settings = study.config.finalists
    return promote(study.of(method, "search"), settings.epsilon, settings.default, raced(study, method))


def raced(study: Records, method: str) -> bool:
    """Whether the method's configurations race, as they do unless an earlier version retrained them."""
    retrained = study.of(method, "finalists")
    return not retrained or RACE in retrained[0].user_attrs


def seeds(study: Records, method: str) -> dict[int, int]:
    """How many seeds each promoted search trial gets, as far as is known: the race's, or all of them."""
    settings = study.config.finalists
    found = dict.fromkeys(promoted(study, method), _race_seeds(study, method))
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
    roles = promoted(study, method)
    return [
        Missing(roles[number], number, index)
        for number, count in seeds(study, method).items()
        for index in range(count)
        if (number, index) not in there
    ]


def expected(study: Records, method: str) -> int:
    """The number of runs that the method's second stage will have, as far as it can be told."""
    known = len(study.of(method, "finalists")) + len(missing(study, method))
    num_seeds, race = study.config.finalists.num_seeds, _race_seeds(study, method)
    if not known:
        return race + num_seeds
    return known + (num_seeds - race if _race(study, method) is None else 0)


def runs(study: Records, method: str) -> dict[int, list[FrozenTrial]]:
    """The retrained runs of each promoted search trial, by seed."""
    return _runs(study, method, seeds(study, method))


def _runs(study: Records, method: str, counts: Mapping[int, int]) -> dict[int, list[FrozenTrial]]:
    """The runs of the first seeds of search trials, as many as `counts` says."""
    found: dict[int, list[FrozenTrial]] = {number: [] for number in counts}
    for trial in study.of(method, "finalists"):
        if study.replaced(Key(method, "finalists", trial.number)):
            continue
        if trial.user_attrs["seed_index"] < counts.get(trial.user_attrs["from"], 0):
            found[trial.user_attrs["from"]].append(trial)
    return found


def _race_seeds(study: Records, method: str) -> int:
    settings = study.config.finalists
    return settings.race_seeds if raced(study, method) else settings.num_seeds


def _race(study: Records, method: str) -> dict[int, list[FrozenTrial]] | None:
    """The runs of the race by search trial; None until all of them have ended."""
    count = _race_seeds(study, method)
    numbers = [number for number, role in promoted(study, method).items() if role != "default"]
    found = _runs(study, method, dict.fromkeys(numbers, count))
    ended = (len(each) == count and all(t.state.is_finished() for t in each) for each in found.values())
    return found if found and all(ended) else None


def choose(study: Records, method: str) -> int | None:
    """The number of the search trial that is retrained with all seeds; None before the race has ended, or if all its runs failed.

    Only the race decides, so that seeds that come later do not change the choice. A configuration that lost a seed is chosen
    only if every one did, since the mean of the seeds that are left flatters it; then those with the most left compete.
    """
    race = _race(study, method) or {}
    scores = {
        number: [t.values[0] for t in each if t.state == TrialState.COMPLETE] for number, each in race.items()
    }
    most = max(map(len, scores.values()), default=0)
    if not most:
        return None
    means = {number: mean(each) for number, each in scores.items() if len(each) == most}
    search = study.of(method, "search")
    enough = max(means.values()) - study.config.finalists.epsilon
    close = [number for number in means if means[number] >= enough]
    return min(close, key=lambda number: (search[number].values[1], -means[number], number))


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
    """The complete runs of the chosen finalist, and those of the configurations that it raced."""
    chosen = choose(study, method)
    if chosen is None:
        return []
    counts = {chosen: planned_seeds(study, method)}
    if raced(study, method):
        counts = {**dict.fromkeys(_race(study, method) or (), _race_seeds(study, method)), **counts}
    return [
        Key(method, "finalists", trial.number)
        for each in _runs(study, method, counts).values()
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
