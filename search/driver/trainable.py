"""The function that Ray Tune calls in a worker: runs `search/training/engine.py` and passes its reports to Tune."""

from __future__ import annotations

from typing import Any

from ray import tune

from search.job import Job, Report
from search.training.engine import failure, train


def run(job: dict[str, Any]) -> None:
    """Trains and scores one trial.

    An error is reported with its traceback, not raised: Tune would restart the trial, which is right when a process or
    a node is lost, but not when the configuration itself fails.
    """
    try:
        train(Job(**job), _report)
    except Exception as error:
        _report(failure(error))


def _report(report: Report) -> None:
    tune.report(report.to_result())
