"""The race: some configurations of a method, a few fresh seeds; the worse ones are dropped, and the best one is chosen.

The best validation score of a search is too high, because it was selected, so it alone decides nothing. Those configurations race of
which the most is expected, by a Gaussian process of all trials of the method (search/strategy/expectation.py). After each round the
best by the mean over its seeds go on. The last two are compared: chosen is the cheaper, if it is within epsilon of the other.

Lopez-Ibanez et al. (2016), "The irace package", https://doi.org/10.1016/j.orp.2016.09.002, section 3, drops by tests; so few seeds
show nothing by tests, so here the number that goes on is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Literal, NamedTuple

from search.config.finalists_config import RACE as LATEST
from search.config.finalists_config import Round, race_runs
from search.storage.trials import FrozenTrial, TrialState
from search.study.records import Key, Records

Role = Literal["best", "cheapest", "runner_up", "default"]

RACE = "race"
"""Name of the fact of a run whose configuration races: which race of `RACES`."""
NEW = 2
RACES: dict[int | None, tuple[Round, ...]] = {NEW: LATEST, 1: (Round(2, 2),)}
"""The rounds of the race that a run names. In earlier versions the best one raced with the cheapest within epsilon or else the second
best (stored as true, which is 1); before, these two had all seeds, and no fact. Their studies go on as they began.
"""


class Race(NamedTuple):
    """How far the race of a method has come.

    Attributes:
        seeds: how many seeds each configuration gets, as far as is known, by the number of its search trial.
        last: the runs of each that is in the last round; None until all of them have ended.
        left: the most runs of the rounds that have not begun.
    """

    seeds: dict[int, int]
    last: dict[int, list[FrozenTrial]] | None
    left: int


def promoted(study: Records, method: str) -> dict[int, Role]:
    """The promoted search trials by number, with the reason, the best first; empty if no trial is complete.

    With `finalists.default` the published default, which is the first trial, is promoted too, even if it was stopped early.
    """
    trials, settings = study.of(method, "search"), study.config.finalists
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    kind = version(study, method)
    if not done:
        return {}
    if kind == NEW:
        means = study.expected(method)
        done = sorted(
            (t for t in done if t.number in means), key=lambda t: (-means[t.number], t.values[1], t.number)
        )
        numbers = [trial.number for trial in done[: LATEST[0].configurations]]
        roles: dict[int, Role] = {
            number: "runner_up" if place else "best" for place, number in enumerate(numbers)
        }
    else:
        roles = _promoted_before(done, settings.epsilon, kind is not None)
    if settings.default and trials[0].state != TrialState.FAIL:
        roles.setdefault(trials[0].number, "default")
    return roles


def _promoted_before(done: Sequence[FrozenTrial], epsilon: float, runner_up: bool) -> dict[int, Role]:
    """As earlier versions promoted: the best, and the cheapest within epsilon of it, or else the second best."""
    done = sorted(done, key=lambda t: (-t.values[0], t.values[1], t.number))
    best = done[0]
    close = [t for t in done if t.values[0] >= best.values[0] - epsilon]
    cheapest = min(close, key=lambda t: (t.values[1], -t.values[0], t.number))
    roles: dict[int, Role] = {best.number: "best"}
    if cheapest.values[1] < best.values[1]:
        roles[cheapest.number] = "cheapest"
    elif runner_up and len(done) > 1:
        roles[done[1].number] = "runner_up"
    return roles


def version(study: Records, method: str) -> int | None:
    """Which race of `RACES` the method's configurations run; None if they do not race, as in early studies."""
    retrained = study.of(method, "finalists")
    found: int | None = retrained[0].user_attrs.get(RACE) if retrained else NEW
    return found


def rounds(study: Records, method: str) -> tuple[Round, ...]:
    """The rounds of the method's race."""
    settings, kind = study.config.finalists, version(study, method)
    return settings.race(RACES[kind]) if kind is not None else (Round(2, settings.num_seeds),)


def race(study: Records, method: str) -> Race:
    """How far the race has come."""
    racing = [number for number, role in promoted(study, method).items() if role != "default"]
    seeds, planned = dict[int, int](), rounds(study, method)
    last: dict[int, list[FrozenTrial]] | None = None
    for place, each in enumerate(planned):
        racing = racing[: each.configurations]
        seeds |= dict.fromkeys(racing, each.seeds)
        last = runs(study, method, dict.fromkeys(racing, each.seeds))
        if not all(
            len(found) == each.seeds and all(t.state.is_finished() for t in found) for found in last.values()
        ):
            return Race(seeds, None, race_runs(planned[place + 1 :], len(racing), each.seeds))
        racing = _ranked(study, method, last)
    return Race(seeds, last, 0)


def runs(study: Records, method: str, counts: Mapping[int, int]) -> dict[int, list[FrozenTrial]]:
    """The runs of the first seeds of search trials, as many as `counts` says."""
    found: dict[int, list[FrozenTrial]] = {number: [] for number in counts}
    for trial in study.of(method, "finalists"):
        if study.replaced(Key(method, "finalists", trial.number)):
            continue
        if trial.user_attrs["seed_index"] < counts.get(trial.user_attrs["from"], 0):
            found[trial.user_attrs["from"]].append(trial)
    return found


def choose(study: Records, method: str) -> int | None:
    """The number of the search trial that is retrained with all seeds; None before the race has ended, or if all its runs failed.

    Only the race decides, so that seeds that come later do not change the choice.
    """
    last = race(study, method).last or {}
    means = _means(last)
    if not means:
        return None
    search = study.of(method, "search")
    enough = max(means.values()) - study.config.finalists.epsilon
    close = [number for number in means if means[number] >= enough]
    return min(close, key=lambda number: (search[number].values[1], -means[number], number))


def _ranked(study: Records, method: str, found: Mapping[int, list[FrozenTrial]]) -> list[int]:
    """The search trials that go on, the best first."""
    means, search = _means(found), study.of(method, "search")
    return sorted(means, key=lambda number: (-means[number], search[number].values[1], number))


def _means(found: Mapping[int, list[FrozenTrial]]) -> dict[int, float]:
    """The means over the seeds of each search trial.

    One that lost a seed is left out, unless every one did, since the mean of the seeds that are left flatters it; then those
    with the most left compete.
    """
    scores = {
        number: [t.values[0] for t in each if t.state == TrialState.COMPLETE]
        for number, each in found.items()
    }
    most = max(map(len, scores.values()), default=0)
    return {number: mean(each) for number, each in scores.items() if most and len(each) == most}
