"""What an evaluation says of its own score: its standard error, and what a trivial answer scores."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from search.config import study_file
from search.job import Report
from search.study.records import Key
from search.study.study import Assignment
from search.tasks import Evaluation
from search.training import engine, worker
from search.training.evaluation import standard_error
from tests.search.conftest import write_study


def test_the_standard_error_is_over_examples() -> None:
    half = Evaluation(0.5, examples=[1.0, 0.0] * 50)
    tenth = Evaluation(0.1, examples=[1.0] + [0.0] * 9)
    errors = [math.sqrt(0.25 / 99), math.sqrt(0.09 / 9)]
    assert standard_error({"a": half}, "mean") == pytest.approx(errors[0])
    assert standard_error({"a": half, "b": tenth}, "mean") == pytest.approx(math.hypot(*errors) / 2)
    assert standard_error({"a": half, "b": tenth}, "worst") == pytest.approx(errors[1])


def test_without_a_value_for_each_example_there_is_none() -> None:
    half = Evaluation(0.5, examples=[1.0, 0.0])
    assert standard_error({"a": half, "b": Evaluation(0.3)}, "mean") is None
    assert standard_error({"a": Evaluation(1.0, examples=[1.0])}, "mean") is None


def test_a_trial_reports_both(study: dict[str, Any], tmp_path: Path) -> None:
    config = study_file.load(write_study(study, tmp_path))
    job = Assignment(Key("head_only", "search", 0), {}, {"topics": 1.0}, seed=0).job(config)
    reports: list[Report] = []
    engine.train(job, reports.append)
    (task,) = worker.load(job.study).tasks
    count = len(task.splits["validation"])
    for report in reports:
        kept = report.evaluation
        assert kept["validation"] == report.validation is not None
        assert kept["standard_error"] == pytest.approx(
            math.sqrt(report.validation * (1 - report.validation) / (count - 1))
        )
        (most, _), *_ = Counter(row.targets[0] for row in task.splits["train"].rows).most_common()
        right = [row.targets[0] == most for row in task.splits["validation"].rows]
        assert kept["trivial"] == pytest.approx(sum(right) / count)
        assert Report.from_result(report.to_result()) == report
