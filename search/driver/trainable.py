"""The function that Ray Tune calls in a worker: runs `search/training/engine.py` and passes its reports to Tune."""

from __future__ import annotations

import traceback
from typing import Any

from ray import tune

from search.job import Job, Report
from search.training.checkpoint_folder import CheckpointFolderError
from search.training.engine import train
from search.training.out_of_memory import out_of_memory
from search.training.trial import DivergedError


def run(job: dict[str, Any]) -> None:
    """Trains and scores one trial.

    An error is reported with its traceback, not raised: Tune would restart the trial, which is right when a process or
    a node is lost, but not when the configuration itself fails.
    """
    try:
        train(Job(**job), _report)
    except DivergedError as error:
        _report(Report(error=f"diverged: {error}"))
    except CheckpointFolderError as error:
        _report(Report(error=str(error), stops_study=True))
    except Exception as error:
        if out_of_memory(error):
            text = f"out of memory even with one row at a time: {error}"
            _report(Report(error=text, out_of_memory=True))
        else:
            _report(Report(error=f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"))


def _report(report: Report) -> None:
    tune.report(report.to_result())
