"""What is read on test: an answer that needs no model, and the columns of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.config import study_file
from search.tasks import Task
from search.training import scores_on_test
from tests.search.conftest import write_study


def as_json(study: dict[str, Any], folder: Path, *overrides: str) -> str:
    return study_file.load(write_study(study, folder), overrides).model_dump_json()


def test_a_trivial_answer_needs_no_trial(study: dict[str, Any], tmp_path: Path) -> None:
    reading = scores_on_test.trivial(as_json(study, tmp_path))
    assert reading is not None
    assert set(reading) == {"test", "task_scores", "metrics", "sha256", "predictions", "answers"}
    assert reading["answers"] == {"topics": "always 'animals'"}
    assert reading["test"] == reading["task_scores"]["topics"] == pytest.approx(1 / 3)
    columns = reading["predictions"]
    assert list(columns) == ["task", "row", "group", "target", "prediction", "score"]
    assert {len(values) for values in columns.values()} == {30}
    assert columns["group"] == [None] * 30
    assert sum(columns["score"]) / 30 == pytest.approx(reading["test"])


def test_examples_have_their_group_and_their_pseudo_value(study: dict[str, Any], tmp_path: Path) -> None:
    reading = scores_on_test.trivial(
        as_json(study, tmp_path, "tasks.0.group=label", "tasks.0.metric=macro_f1")
    )
    assert reading is not None
    columns = reading["predictions"]
    assert columns["group"] == [0, 1, 2] * 10
    assert len(set(columns["score"])) == 2, "the right ones and the wrong ones"
    assert sum(columns["score"]) / 30 == pytest.approx(reading["test"], abs=0.01)


def test_no_trivial_answer(study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scores_on_test.trivial(as_json(study, tmp_path, "tasks.0.data.test_split=null")) is None
    monkeypatch.setattr("search.tasks.label_problems.OneLabel.trivial", Task.trivial)
    assert scores_on_test.trivial(as_json(study, tmp_path)) is None
