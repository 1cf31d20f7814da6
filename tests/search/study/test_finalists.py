"""The second stage of a study: who is promoted, the race, the choice, and what is scored on test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.config.study_config import StudyConfig
from search.study import finalists, race
from search.study.study import Assignment, Study
from tests.search.studies import end, load, run, scored

Score = tuple[float | None] | tuple[float | None, int]


def settings(study: dict[str, Any], folder: Path, trials: int = 3, **given: Any) -> StudyConfig:
    """One method, five seeds."""
    content = {**study, "methods": {"prompt_tuning": {}}}
    return load(
        {**content, "finalists": {"num_seeds": 5, "epsilon": 0.0, **given}}, folder, trials_per_method=trials
    )


def search(study: Study, *scores: Score) -> None:
    """Runs the search trials, with (validation, deployed parameters) in their order."""
    for score in scores:
        assignment = study.next()
        assert isinstance(assignment, Assignment)
        end(study, assignment, *score)


def retrain(study: Study, score: Callable[[int, int], float | None]) -> list[tuple[int, int]]:
    """Runs the finalists; `score` takes the number of the search trial and the index of the seed."""
    done = []

    def of(assignment: Assignment) -> tuple[float | None]:
        facts = study.trial(assignment.key).user_attrs
        done.append((facts["from"], facts["seed_index"]))
        return (score(*done[-1]),)

    run(study, of)
    return done


def choice(study: Study) -> int | None:
    return race.choose(study, "prompt_tuning")


def test_the_four_race_of_which_most_is_expected(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path, trials=8))
    search(opened, *((0.5 + 0.04 * number, 10) for number in (3, 1, 4, 7, 5, 2, 6, 0)))
    means = opened.expected("prompt_tuning")
    best = sorted(means, key=lambda number: -means[number])[:4]
    assert race.promoted(opened, "prompt_tuning") == dict(
        zip(best, ["best", *["runner_up"] * 3], strict=True)
    )
    assert finalists.expected(opened, "prompt_tuning") == 9
    done = retrain(opened, lambda number, index: 0.9 - best.index(number) / 10 if index < 2 else 0.1)
    first, second, *_ = best
    assert done == [
        *((number, 0) for number in best),
        *((first, 1), (second, 1)),
        *((first, 2), (first, 3), (first, 4)),
    ], "the best two go on, and one of them gets all seeds"
    assert choice(opened) == first
    assert finalists.expected(opened, "prompt_tuning") == 9
    assert opened.finished()
    assert choice(Study(opened.config)) == first
    tested = {opened.trial(key).user_attrs["from"] for key in finalists.untested(opened)}
    assert tested == {first, second}


def test_what_loses_the_first_round_can_not_come_back(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    retrain(opened, lambda number, index: {(2, 0): 0.1, (1, 0): 0.6, (0, 0): 0.5}.get((number, index), 0.2))
    assert choice(opened) == 1
    assert {n: len(each) for n, each in finalists.runs(opened, "prompt_tuning").items()} == {1: 5, 0: 2, 2: 1}


def test_of_the_last_two_the_cheaper_is_chosen_within_epsilon(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path, epsilon=0.01))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 5))
    retrain(opened, lambda number, index: [0.795, 0.8, 0.5][number])
    assert choice(opened) == 0, "the cheapest of all is out"


@pytest.mark.parametrize(
    ("scores", "roles"),
    [
        ([(0.8, 10), (0.9, 50), (0.7, 5)], {1: "best", 0: "runner_up", 2: "runner_up"}),
        ([(None,), (0.5, 10), (None,)], {1: "best"}),
        ([(None,), (None,), (None,)], {}),
    ],
)
def test_of_few_trials_all_that_are_complete_race(
    study: dict[str, Any], tmp_path: Path, scores: list[Score], roles: dict[int, str]
) -> None:
    opened = Study(settings(study, tmp_path, epsilon=0.01))
    search(opened, *scores)
    assert race.promoted(opened, "prompt_tuning") == roles


def test_a_race_that_runs_is_waited_for(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    for count in (3, 2):
        racing = [opened.next() for _ in range(count)]
        assert opened.next() == "wait"
        assert choice(opened) is None
        assert not finalists.untested(opened)
        for assignment in racing:
            assert isinstance(assignment, Assignment)
            end(opened, assignment, 0.5)
    assert isinstance(opened.next(), Assignment)
    assert not opened.finished()


@pytest.mark.parametrize(
    ("failed", "chosen"),
    [
        ({(1, 1)}, 0),
        ({(1, 1), (1, 2), (1, 3), (1, 4)}, 0),
        ({(1, 1), (0, 1)}, 1),
        ({(1, 0)}, 0),
        ({(1, 0), (0, 0)}, 2),
        ({(1, 0), (0, 0), (2, 0)}, None),
    ],
)
def test_a_configuration_that_lost_a_seed_comes_after_whole_ones(
    study: dict[str, Any], tmp_path: Path, failed: set[tuple[int, int]], chosen: int | None
) -> None:
    """The seeds of the best that are left have much higher scores."""
    opened = Study(settings(study, tmp_path))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    retrain(opened, lambda number, index: None if (number, index) in failed else [0.5, 0.99, 0.4][number])
    assert choice(opened) == chosen
    assert opened.finished()


def test_one_seed_chooses_where_there_is_one(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path, num_seeds=1))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    assert retrain(opened, lambda number, index: [0.6, 0.5, 0.4][number]) == [(1, 0), (0, 0), (2, 0)]
    assert choice(opened) == 0
    more = Study(settings(study, tmp_path, num_seeds=3))
    assert retrain(more, lambda number, index: 0.5) == [(1, 1), (0, 1), (0, 2)]


def test_what_was_in_the_last_round_is_scored_on_test_too(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path, trials=5, default=True))
    search(opened, (0.1, 10), (0.9, 50), (0.8, 10), (0.7, 10), (0.6, 10))
    roles = race.promoted(opened, "prompt_tuning")
    assert {number for number, role in roles.items() if role != "default"} == {1, 2, 3, 4}
    assert roles[0] == "default"
    assert finalists.expected(opened, "prompt_tuning") == 14
    retrain(opened, lambda number, index: None if (number, index) == (2, 4) else number / 10 - index / 100)
    assert choice(opened) == 4
    origins = [opened.trial(key).user_attrs for key in finalists.untested(opened)]
    assert sorted((facts["from"], facts["seed_index"]) for facts in origins) == [
        *((3, index) for index in range(2)),
        *((4, index) for index in range(5)),
    ]
    runs = finalists.runs(opened, "prompt_tuning")
    assert {number: len(each) for number, each in runs.items()} == {0: 5, 1: 1, 2: 1, 3: 2, 4: 5}
    scored(opened)
    assert finalists.untested(opened) == []


def test_a_default_that_races_is_retrained_with_every_seed_on_request(
    study: dict[str, Any], tmp_path: Path
) -> None:
    opened = Study(settings(study, tmp_path, default=True))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    retrain(opened, lambda number, index: 0.9 if number == 1 else 0.8 - number / 10)
    assert choice(opened) == 1
    runs = finalists.runs(opened, "prompt_tuning")
    assert {number: len(each) for number, each in runs.items()} == {1: 5, 0: 5, 2: 1}


@pytest.fixture
def earlier(study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """Makes a study of an earlier version and opens it as this version does.

    `kind` is what its runs say of their race: None, as when nothing raced, or true, as when two raced.
    """

    def make(
        kind: int | None, scores: list[Score], score: Callable[[int, int], float | None], **given: Any
    ) -> Study:
        config = settings(study, tmp_path, **given)
        with monkeypatch.context() as patch:
            patch.setattr(race, "version", lambda study, method: kind)
            made = Study(config)
            search(made, *scores)
            retrain(made, score)
        return Study(config)

    return make


def test_every_seed_chose_in_an_earlier_version(earlier: Callable[..., Study]) -> None:
    scores = [(0.89, 10), (0.9, 50), (0.7, 10)]
    of_seed = lambda number, index: 0.9 if (number == 0) == (index < 2) else 0.5  # noqa: E731
    opened = earlier(None, scores, of_seed, epsilon=0.02)
    assert opened.finished()
    assert len(opened.of("prompt_tuning", "finalists")) == 10
    assert choice(opened) == 1, "the first two seeds alone would choose the other"
    assert [opened.trial(key).user_attrs["from"] for key in finalists.untested(opened)] == [1] * 5


def test_one_of_five_seeds_is_no_mean(earlier: Callable[..., Study]) -> None:
    scores = [(0.89, 10), (0.9, 50), (0.7, 10)]
    of_seed = lambda number, index: 0.6 if number == 0 else (0.99 if index == 0 else None)  # noqa: E731
    opened = earlier(None, scores, of_seed, epsilon=0.02)
    assert choice(opened) == 0


def test_a_study_of_an_earlier_version_has_no_runner_up(earlier: Callable[..., Study]) -> None:
    opened = earlier(None, [(0.8, 10), (0.9, 50), (0.7, 10)], lambda number, index: 0.9)
    assert opened.finished()
    assert race.promoted(opened, "prompt_tuning") == {1: "best"}
    assert [opened.trial(key).user_attrs["from"] for key in finalists.untested(opened)] == [1] * 5


@pytest.mark.parametrize(
    ("scores", "roles"),
    [
        ([(0.8, 10), (0.9, 50), (0.7, 5)], {1: "best", 0: "runner_up"}),
        ([(0.9, 50), (0.9, 20), (0.7, 5)], {1: "best", 0: "runner_up"}),
        ([(0.9, 50), (0.895, 20), (0.89, 60)], {0: "best", 1: "cheapest"}),
    ],
)
def test_two_raced_in_an_earlier_version(
    earlier: Callable[..., Study], scores: list[Score], roles: dict[int, str]
) -> None:
    opened = earlier(True, scores, lambda number, index: 0.9 - number / 10, epsilon=0.01)
    assert opened.finished()
    assert race.promoted(opened, "prompt_tuning") == roles
    assert choice(opened) == 0
    assert finalists.expected(opened, "prompt_tuning") == 7
    tested = [opened.trial(key).user_attrs for key in finalists.untested(opened)]
    assert sorted((facts["from"], facts["seed_index"]) for facts in tested) == [
        *((0, index) for index in range(5)),
        *((1, index) for index in range(2)),
    ]
    assert {trial.user_attrs["race"] for trial in opened.of("prompt_tuning", "finalists")} == {True}
