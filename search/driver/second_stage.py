"""Scores the finalists on test and measures their costs, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from rich.console import Console

from search.errors import HaltedError, PromptfrontError
from search.job import Job
from search.study.finalists import PROBE, TEST, TRIVIAL, predictions_path, unmeasured, untested
from search.study.records import Key
from search.study.study import Assignment, Study
from search.training import probe, scores_on_test
from search.training.probe import Probe
from search.training.scores_on_test import Reading


def score(study: Study, request: dict[str, float], interrupted: threading.Event, console: Console) -> None:
    """Scores on test what was not scored yet, and measures the costs of what was not measured yet."""
    if untested(study):
        console.print("Scoring the finalists on the test split ...")
        score_on_test(study, lambda jobs: score_all(jobs, request, interrupted))
    if unmeasured(study) and not interrupted.is_set():
        console.print("Measuring the finalists' time and memory, one at a time ...")
        measure_costs(study, lambda jobs: measure_all(jobs, request, interrupted))


def score_on_test(study: Study, run: Callable[[list[dict[str, Any]]], Iterator[tuple[int, Reading]]]) -> None:
    """Scores on test the runs that have no test score yet, and counts the reading of the test split.

    Args:
        study: the study; all its finalists have ended.
        run: runs `scores_on_test.score` for each job and yields (index of the job, its reading) as each ends.
    """
    keys = untested(study)
    if not keys:
        return
    study.count_reading()
    _score_trivial(study)
    jobs = [_job(study, key).to_dict() for key in keys]
    for index, reading in run(jobs):
        key = keys[index]
        _write(reading.pop("predictions"), predictions_path(study.config, key))
        study.record_trial_fact(key, TEST, reading)


def _score_trivial(study: Study) -> None:
    """Scores answers that need no model, once, and before any finalist, so that a study with test scores has it."""
    if study.known_fact(TRIVIAL) is not None:
        return
    reading = scores_on_test.trivial(study.config.model_dump_json()) or {}
    if reading:
        _write(reading.pop("predictions"), predictions_path(study.config, TRIVIAL))
    study.record_study_fact(TRIVIAL, reading)


def _write(predictions: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(predictions).to_parquet(path)


def measure_costs(study: Study, run: Callable[[list[dict[str, Any]]], Iterator[tuple[int, Probe]]]) -> None:
    """Measures and records the costs of each method's chosen finalist.

    Args:
        study: the study; all its finalists have ended.
        run: runs `probe.measure` for one job at a time and yields (index of the job, its probe).
    """
    keys = unmeasured(study)
    jobs = [_job(study, key).to_dict() for key in keys]
    for index, found in run(jobs):
        study.record_trial_fact(keys[index], PROBE, found)


def score_all(
    jobs: list[dict[str, Any]], request: dict[str, float], interrupted: threading.Event
) -> Iterator[tuple[int, Reading]]:
    """Scores jobs on a worker with a GPU if trials use one, else in this process, which has the libraries loaded."""
    if "gpu" not in request:
        for index, job in enumerate(jobs):
            if interrupted.is_set():
                return
            yield index, scores_on_test.score(job)
        return
    # max_calls=0: a task with a GPU would else have a process of its own, which loads torch and the model anew
    remote = ray.remote(num_cpus=request["cpu"], num_gpus=request["gpu"], max_calls=0)(scores_on_test.score)
    pending = {remote.remote(job): index for index, job in enumerate(jobs)}
    while pending and not interrupted.is_set():
        ready, _ = ray.wait(list(pending), timeout=1)
        for done in ready:
            try:
                yield pending.pop(done), _result(done)
            except ray.exceptions.RayTaskError as error:
                # An error for the user is shown without the worker's traceback.
                raise error.cause if isinstance(error.cause, PromptfrontError) else error from None


def measure_all(
    jobs: list[dict[str, Any]], request: dict[str, float], interrupted: threading.Event
) -> Iterator[tuple[int, Probe]]:
    """Measures jobs one after the other on a worker with a trial's resources; a failed one yields an `error`."""
    remote = ray.remote(num_cpus=request["cpu"], num_gpus=request.get("gpu", 0))(probe.measure)
    for index, job in enumerate(jobs):
        pending = remote.remote(job)
        while not interrupted.is_set() and not ray.wait([pending], timeout=1)[0]:
            pass
        if interrupted.is_set():
            ray.cancel(pending, force=True)
            return
        try:
            yield index, _result(pending)
        except ray.exceptions.RayTaskError as error:
            yield index, {"error": str(error)}


def _result(done: ray.ObjectRef[Any]) -> Any:
    """The result of a task; one that was lost from outside, after Ray's own retries, is no result.

    Raises:
        HaltedError: the task's process or node is gone.
        RayTaskError: the task itself has failed.
    """
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        why = str(error).partition("\n")[0]
        raise HaltedError(
            f"Ray has lost what ran on it ({why}). Nothing else is: launch again to continue"
        ) from error


def _job(study: Study, key: Key) -> Job:
    facts = study.trial(key).user_attrs
    return Assignment.of(key, facts).job(study.config)
