"""The driver: runs a study to its end or to its limits, and writes the results.

Only the driver writes to the Optuna storage and to MLflow. Launching again resumes a study.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from clusters.connect import connected, refuse_unshared
from search.config import places, study_file
from search.config.study_config import StudyConfig
from search.driver import lock, second_stage, signals, trainable
from search.driver.budget import Budget
from search.driver.gauges import Gauges
from search.driver.progress import Progress
from search.driver.tune import HalvingScheduler, StudySearcher, StudyStopper
from search.errors import HaltedError, NoStudyError, PromptfrontError, StorageError, StudyFileError
from search.plan import check, resources
from search.results import provenance
from search.results.rows import study_rows, write_curves
from search.storage.trials import TrialState
from search.study import finalists
from search.study.study import Study
from search.tracking.mlflow_store import TrackingError
from search.tracking.tracker import Tracker

# Turns off Tune's own output, loggers, signal handler and snapshots, which we replace. The timeout is longer than
# Tune's two seconds, because a trial that takes longer to shut down would lose its slot for good.
_TUNE = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
}


class Outcome(enum.Enum):
    """How a launch ended; the report shows the value."""

    DONE = "done"
    NOTHING_TO_DO = "nothing to do"
    INTERRUPTED = "interrupted"
    BUDGET_ENDED = "budget ended"
    NOTHING_FEASIBLE = "nothing feasible"


@dataclass(frozen=True)
class Launched:
    """The result of a launch.

    Attributes:
        outcome: how the launch ended.
        rows: the study's result rows.
        report: the content of report.json.
        unwritten: errors of writing to MLflow; the next launch writes what is missing.
    """

    outcome: Outcome
    rows: dict[str, Any]
    report: dict[str, Any]
    unwritten: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Writer:
    """Functions that write the report; the caller gives them, since the driver does not import the dashboards.

    Attributes:
        write: takes (rows, folder), writes the report's files and returns the content of report.json.
        description: takes that content and returns a Markdown summary.
    """

    write: Callable[[Any, Path], dict[str, Any]]
    description: Callable[[dict[str, Any]], str]


def launch(config: StudyConfig, console: Console, writer: Writer) -> Launched:
    """Runs a study or continues it.

    Raises:
        PromptfrontError: see the classes in search/errors.py.
        ClusterError: Ray cannot be reached.
    """
    with lock.folder_lock(config.folder):
        facts = _facts(config)
        with lock.study_lease(Study(config), console.print):
            study = Study(config)  # read again: the driver we waited for may have changed it
            return _launch(study, facts, console, writer)


def _launch(study: Study, facts: dict[str, Any], console: Console, writer: Writer) -> Launched:
    config = study.config
    (config.folder / "config.yaml").write_text(study_file.dump(config), encoding="utf-8")
    ended_before = study.finished() and not finalists.untested(study) and not finalists.unmeasured(study)
    if not ended_before:  # a finished study keeps the provenance of the launch that made its results
        _write_facts(config, facts)
    tracker = Tracker(study, facts["backbone"]["parameters"])
    if ended_before:
        return _write(study, tracker, _ended(study, Outcome.NOTHING_TO_DO), writer)
    with signals.handling_signals() as interrupted:
        try:
            outcome = _run(study, tracker, console, interrupted)
        except KeyboardInterrupt:
            if interrupted.is_set():  # a second Ctrl-C: stop at once
                raise
            outcome = Outcome.INTERRUPTED
        except HaltedError:
            with contextlib.suppress(OSError, StorageError):  # the report may need the same full disk
                _write(study, tracker, Outcome.INTERRUPTED, writer)
            raise
        return _write(study, tracker, outcome, writer)


def read_rows(config: StudyConfig) -> dict[str, Any]:
    """Reads the result rows of an existing study, finished or not.

    Raises:
        NoStudyError: the study does not exist, or was never launched.
    """
    study = Study(config, must_exist=True)
    finished = study.finished() and not finalists.untested(study)
    outcome = _ended(study, Outcome.DONE) if finished else Outcome.INTERRUPTED
    return study_rows(study, outcome.value, _with_test_hashes(study, _read_facts(config)))


def _ended(study: Study, outcome: Outcome) -> Outcome:
    """`outcome` if any trial is complete, else NOTHING_FEASIBLE."""
    completed = any(each.state == TrialState.COMPLETE for _, each in study.trials())
    return outcome if completed else Outcome.NOTHING_FEASIBLE


def _read_facts(config: StudyConfig) -> dict[str, Any]:
    """The provenance of the study's last launch, with `backbone` and `tasks`."""
    path = config.folder / "provenance.json"
    if not path.exists():
        raise NoStudyError(f"{path} is missing: the study was launched elsewhere, or its folder was deleted")
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _run(study: Study, tracker: Tracker, console: Console, interrupted: threading.Event) -> Outcome:
    """Runs the search and the finalists, and scores them on the test split."""
    os.environ.update(_TUNE)
    config = study.config
    searcher = StudySearcher(study)
    with connected(config.cluster.address) as there:
        signals.install_handlers(interrupted)  # again: Ray has replaced our handler
        if "://" not in (checkpoints := places.checkpoint_place(config)):
            refuse_unshared(Path(checkpoints))
        request = resources.per_trial(config.cluster, there.get("GPU", 0))
        searcher.limit = resources.at_once(config, there)
        if searcher.limit < 1:
            raise StudyFileError(
                f"a trial needs {request}, but the cluster has {there}: lower cluster.cpus_per_trial or gpus_per_trial"
            )
        budget = Budget(study, request.get("gpu", 0.0))
        stopper = StudyStopper(searcher, interrupted, budget)
        with tracker.following(), tempfile.TemporaryDirectory() as folder:
            with Progress(study, console) as progress:
                _tune(searcher, stopper, progress, request, folder)
            budget.keep()
            if searcher.halted is not None:
                raise HaltedError(searcher.halted)
            if interrupted.is_set():
                return Outcome.INTERRUPTED
            if study.finished():
                console.print("Scoring the finalists on the test split ...")
                second_stage.score_on_test(
                    study, lambda jobs: second_stage.score_all(jobs, request, interrupted)
                )
                console.print("Measuring the finalists' time and memory, one at a time ...")
                second_stage.measure_costs(
                    study, lambda jobs: second_stage.measure_all(jobs, request, interrupted)
                )
                if finalists.untested(study) or finalists.unmeasured(study):
                    return Outcome.INTERRUPTED
                return _ended(study, Outcome.DONE)
        if not (stopper.budget_ended or study.out_of_trials):
            raise PromptfrontError(
                "Ray Tune stopped before the study was finished. Nothing is lost: launch again to continue"
            )
        return Outcome.BUDGET_ENDED


def _tune(
    searcher: StudySearcher, stopper: StudyStopper, progress: Progress, request: dict[str, float], folder: str
) -> None:
    tuner = tune.Tuner(
        tune.with_resources(trainable.run, request),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=HalvingScheduler(searcher), num_samples=-1, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            stop=stopper,
            callbacks=[progress, Gauges(searcher.study)],
            failure_config=tune.FailureConfig(max_failures=2),  # counted between two evaluations
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except Exception as error:
        raise _ours(error) from error


def _ours(error: BaseException) -> BaseException:
    """The PromptfrontError that Tune has wrapped, or else the error itself."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, PromptfrontError):
        found = found.__cause__ or found.__context__
    return found or error


def _write(study: Study, tracker: Tracker, outcome: Outcome, writer: Writer) -> Launched:
    """Writes curves, report and MLflow, each even if a later one fails."""
    config = study.config
    said = Outcome.DONE if outcome is Outcome.NOTHING_TO_DO else outcome
    try:
        tracker.sync(patient=True)  # first, since the rows hold the ids of MLflow's runs
        unwritten = []
    except TrackingError as error:
        unwritten = [str(error)]
    rows = study_rows(study, said.value, _with_test_hashes(study, _read_facts(config)))
    write_curves(study)
    report = writer.write(rows, config.folder / "report")
    if unwritten:  # MLflow is away, and we have already waited for it
        return Launched(outcome, rows, report, unwritten)
    try:
        status = {Outcome.DONE: "FINISHED", Outcome.NOTHING_FEASIBLE: "FAILED"}.get(said, "KILLED")
        tracker.finish(status, report, writer.description(report), config.folder / "report")
    except TrackingError as error:
        unwritten = [str(error)]
    return Launched(outcome, rows, report, unwritten)


def _facts(config: StudyConfig) -> dict[str, Any]:
    """Checks the study against its model and data, and collects the provenance of its results."""
    checked = check.check(config, probe=False)
    return {
        **provenance.collect(config, checked.loaded),
        "backbone": {
            "name": config.model.name_or_path,
            **{name: getattr(checked.shape, name) for name in ("parameters", "hidden_size")},
            "layers": checked.shape.layers,
        },
        "tasks": [
            {
                "name": task.name,
                "kind": task.kind,
                "metric": task.metric,
                "labels": list(task.labels),
                "request": section.request,
                **planned.rows,
            }
            for task, planned, section in zip(checked.loaded, checked.tasks, config.tasks, strict=True)
        ],
    }


def _write_facts(config: StudyConfig, facts: dict[str, Any]) -> None:
    (config.folder / "provenance.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _with_test_hashes(study: Study, facts: dict[str, Any]) -> dict[str, Any]:
    """Adds the hashes of the test splits, which are known only once they were read."""
    for reading in study.facts_of_trials(finalists.TEST).values():
        for name, digest in reading["sha256"].items():
            facts["data"][name]["test"] = digest
    return facts
