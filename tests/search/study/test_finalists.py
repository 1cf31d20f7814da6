"""The second stage of a study: who is promoted, the race, the choice, and what is scored on test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.config.study_config import StudyConfig
from search.study import finalists
from search.study.study import Assignment, Study
from tests.search.studies import end, load, run, scored

Score = tuple[float | None] | tuple[float | None, int]


def settings(study: dict[str, Any], folder: Path, **given: Any) -> StudyConfig:
    """One method, three trials, five seeds."""
    content = {**study, "methods": {"prompt_tuning": study["methods"]["prompt_tuning"]}}
    return load({**content, "finalists": {"num_seeds": 5, "epsilon": 0.0, **given}}, folder)


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
    return finalists.choose(study, "prompt_tuning")


@pytest.mark.parametrize(
    ("scores", "roles"),
    [
        ([(0.8, 10), (0.9, 50), (0.7, 5)], {1: "best", 0: "runner_up"}),
        ([(0.9, 50), (0.9, 20), (0.7, 5)], {1: "best", 0: "runner_up"}),
        ([(0.9, 50), (0.895, 20), (0.89, 60)], {0: "best", 1: "cheapest"}),
        ([(None,), (0.5, 10), (None,)], {1: "best"}),
        ([(None,), (None,), (None,)], {}),
    ],
)
def test_two_configurations_are_promoted(
    study: dict[str, Any], tmp_path: Path, scores: list[Score], roles: dict[int, str]
) -> None:
    opened = Study(settings(study, tmp_path, epsilon=0.01))
    search(opened, *scores)
    assert finalists.promoted(opened, "prompt_tuning") == roles


def test_two_seeds_choose_and_only_the_chosen_gets_all(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    assert finalists.expected(opened, "prompt_tuning") == 7
    # With its later seeds the chosen one would lose.
    done = retrain(opened, lambda number, index: [0.6, 0.5][number] if index < 2 else 0.1)
    assert done == [(1, 0), (1, 1), (0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]
    assert choice(opened) == 0
    assert finalists.expected(opened, "prompt_tuning") == 7
    assert opened.finished()
    assert choice(Study(opened.config)) == 0


def test_a_race_that_runs_is_waited_for(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    racing = [opened.next() for _ in range(4)]
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
        ({(1, 1), (0, 0)}, 1),
        ({(1, 1), (0, 0), (0, 1)}, 1),
        ({(1, 0), (1, 1), (0, 1)}, 0),
        ({(1, 0), (1, 1), (0, 0), (0, 1)}, None),
    ],
)
def test_a_configuration_that_lost_a_seed_comes_after_whole_ones(
    study: dict[str, Any], tmp_path: Path, failed: set[tuple[int, int]], chosen: int | None
) -> None:
    """The seeds of the best that are left have much higher scores."""
    opened = Study(settings(study, tmp_path))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    retrain(opened, lambda number, index: None if (number, index) in failed else [0.5, 0.99][number])
    assert choice(opened) == chosen
    assert opened.finished()


def test_one_seed_chooses_where_there_is_one(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path, num_seeds=1))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    assert retrain(opened, lambda number, index: [0.6, 0.5][number]) == [(1, 0), (0, 0)]
    assert choice(opened) == 0
    more = Study(settings(study, tmp_path, num_seeds=3))
    assert retrain(more, lambda number, index: 0.5) == [(1, 1), (0, 1), (0, 2)]


def test_what_raced_is_scored_on_test_too(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(settings(study, tmp_path, default=True))
    search(opened, (0.5, 10), (0.9, 50), (0.7, 10))
    assert finalists.promoted(opened, "prompt_tuning") == {1: "best", 2: "runner_up", 0: "default"}
    assert finalists.expected(opened, "prompt_tuning") == 12
    retrain(opened, lambda number, index: None if (number, index) == (1, 4) else number / 10 - index / 100)
    assert choice(opened) == 2
    origins = [opened.trial(key).user_attrs for key in finalists.untested(opened)]
    assert sorted((facts["from"], facts["seed_index"]) for facts in origins) == [
        *((1, index) for index in range(2)),
        *((2, index) for index in range(5)),
    ]
    assert {number: len(each) for number, each in finalists.runs(opened, "prompt_tuning").items()} == {
        0: 5,
        1: 2,
        2: 5,
    }
    scored(opened)
    assert finalists.untested(opened) == []


def test_a_default_that_races_is_retrained_with_every_seed_on_request(
    study: dict[str, Any], tmp_path: Path
) -> None:
    opened = Study(settings(study, tmp_path, default=True))
    search(opened, (0.8, 10), (0.9, 50), (0.7, 10))
    retrain(opened, lambda number, index: 0.9 if number == 1 else 0.8)
    assert choice(opened) == 1
    assert {n: len(each) for n, each in finalists.runs(opened, "prompt_tuning").items()} == {1: 5, 0: 5}


@pytest.fixture
def earlier(study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """Makes a study of an earlier version, in which nothing raced, and opens it as this version does."""

    def make(scores: list[Score], score: Callable[[int, int], float | None], **given: Any) -> Study:
        config = settings(study, tmp_path, **given)
        with monkeypatch.context() as patch:
            patch.setattr(finalists, "raced", lambda study, method: False)
            made = Study(config)
            search(made, *scores)
            retrain(made, score)
        return Study(config)

    return make


def test_every_seed_chose_in_an_earlier_version(earlier: Callable[..., Study]) -> None:
    scores = [(0.89, 10), (0.9, 50), (0.7, 10)]
    opened = earlier(scores, lambda number, index: 0.9 if (number == 0) == (index < 2) else 0.5, epsilon=0.02)
    assert opened.finished()
    assert len(opened.of("prompt_tuning", "finalists")) == 10
    assert choice(opened) == 1, "the first two seeds alone would choose the other"
    assert [opened.trial(key).user_attrs["from"] for key in finalists.untested(opened)] == [1] * 5


def test_one_of_five_seeds_is_no_mean(earlier: Callable[..., Study]) -> None:
    scores = [(0.89, 10), (0.9, 50), (0.7, 10)]
    of_seed = lambda number, index: 0.6 if number == 0 else (0.99 if index == 0 else None)  # noqa: E731
    opened = earlier(scores, of_seed, epsilon=0.02)
    assert choice(opened) == 0


def test_a_study_of_an_earlier_version_has_no_runner_up(earlier: Callable[..., Study]) -> None:
    opened = earlier([(0.8, 10), (0.9, 50), (0.7, 10)], lambda number, index: 0.9)
    assert opened.finished()
    assert finalists.promoted(opened, "prompt_tuning") == {1: "best"}
    assert [opened.trial(key).user_attrs["from"] for key in finalists.untested(opened)] == [1] * 5
