"""What the result rows say of the second stage, from a study whose test scores the test gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from search.driver import second_stage
from search.results.rows import study_rows
from search.study import extra_seeds, finalists
from search.study.study import Study
from search.training import scores_on_test
from tests.search.studies import by_rate, load, run

EXAMPLES = {"topics": [1.0, 0.0], "again": [0.0, 0.5]}
GROUPS: dict[str, list[int | None]] = {"topics": [4, 4], "again": [None, None]}


def reading(**more: Any) -> dict[str, Any]:
    tasks = [task for task, scores in EXAMPLES.items() for _ in scores]
    columns = {
        "task": tasks,
        "row": [0, 1, 0, 1],
        "group": [number for groups in GROUPS.values() for number in groups],
        "target": ["food"] * 4,
        "prediction": ["food"] * 4,
        "score": [score for scores in EXAMPLES.values() for score in scores],
    }
    backwards = {name: values[::-1] for name, values in columns.items()}
    scores = {"topics": 0.5, "again": 0.25}
    return {
        "test": 0.25,
        "task_scores": scores,
        "metrics": {},
        "sha256": {},
        "predictions": backwards,
        **more,
    }


@pytest.fixture
def opened(study: dict[str, Any], tmp_path: Path) -> Study:
    """A study of two tasks, of which the worst counts, and whose finalists have ended."""
    (task,) = study["tasks"]
    content = {**study, "tasks": [{**task, "name": name} for name in EXAMPLES]}
    made = Study(load(content, tmp_path, objective="worst"))
    run(made, by_rate)
    return made


def score(study: Study, monkeypatch: pytest.MonkeyPatch, trivial: dict[str, Any] | None) -> list[str]:
    """Scores the finalists; returns what trivial answers were asked for."""
    asked: list[str] = []
    monkeypatch.setattr(scores_on_test, "trivial", lambda study: asked.append(study) or trivial)
    second_stage.score_on_test(study, lambda jobs: enumerate(reading() for _ in jobs))
    return asked


def rows(study: Study) -> dict[str, Any]:
    return study_rows(study, "done", {"backbone": {}, "tasks": []})


def test_rows_have_looks_groups_and_the_trivial_answer(
    opened: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(opened)
    assert before["test_groups"] == {}
    assert before["trivial"] is None
    answers = {"topics": "always 'food'", "again": "always 'food'"}
    assert score(opened, monkeypatch, reading(answers=answers)) == [opened.config.model_dump_json()]
    found = rows(Study(opened.config))
    assert found["objective"]["over_tasks"] == "worst"
    assert found["seeds"] == {"num_seeds": 2, "max_seeds": 4, "looks": [2, 4]}
    assert found["test_groups"] == {"topics": [4, 4], "again": None}
    assert found["trivial"] == {
        "test": 0.25,
        "test_task_scores": {"topics": 0.5, "again": 0.25},
        "examples": EXAMPLES,
        "answers": answers,
    }


def test_every_configuration_of_the_last_round_has_test_scores(
    opened: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(opened, monkeypatch, None)
    found = rows(opened)["finalists"]
    assert [each["method"] for each in found] == [m for m in opened.config.methods for _ in range(3)]
    assert sum(each["chosen"] for each in found) == 3
    assert [each["role"] for each in found] == ["best", "runner_up", "runner_up"] * 3
    last = [each["runs"] for each in found if len(each["runs"]) == 2]
    assert [[one["test"] for one in runs] for runs in last] == [[0.25, 0.25]] * 6
    assert all(one["examples"] == EXAMPLES for runs in last for one in runs), "the worst of several tasks too"
    assert [each["runs"][0]["test"] for each in found if len(each["runs"]) == 1] == [None] * 3


def test_extra_seeds_are_in_the_rows_once_they_are_scored(
    opened: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts() -> list[int]:
        return [len(each["runs"]) for each in rows(opened)["finalists"] if each["chosen"]]

    score(opened, monkeypatch, None)
    extra_seeds.decide(opened, ["prompt_tuning"])
    run(opened, by_rate)
    assert counts() == [2, 2, 2]
    asked = score(opened, monkeypatch, None)
    assert counts() == [2, 4, 2]
    assert asked == [], "it was asked once"
    assert opened.test_readings == 2


def test_predictions_of_an_earlier_version_have_no_groups(
    opened: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(opened, monkeypatch, None)
    for path in (opened.config.folder / "predictions").glob("*.parquet"):
        pd.read_parquet(path).drop(columns="group").to_parquet(path)
    opened.record_study_fact(finalists.TRIVIAL, None)
    found = rows(Study(opened.config))
    assert found["test_groups"] == {"topics": None, "again": None}
    assert found["trivial"] is None
    assert found["finalists"][0]["runs"][0]["examples"] == EXAMPLES
