"""The driver: runs a study to its end or to its limits, and writes the results.

Only the driver writes to the Optuna storage and to MLflow. Launching again resumes a study.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from clusters.connect import connected, on_this_machine, refuse_unshared
from search.config import places, study_file
from search.config.study_config import StudyConfig
from search.driver import lock, more_seeds, rounds, second_stage, signals, supervisor
from search.driver.log import log_file
from search.errors import HaltedError, NoStudyError, StorageError, StudyFileError
from search.plan import check, resources
from search.results import provenance
from search.results.rows import study_rows, write_curves
from search.storage.trials import TrialState
from search.study import finalists
from search.study.extra_seeds import undecided_yet
from search.study.study import Study
from search.tracking.mlflow_store import TrackingError
from search.tracking.tracker import Tracker


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
        undecided: takes rows and returns the methods that cannot be told apart and that more seeds might.
    """

    write: Callable[[Any, Path], dict[str, Any]]
    description: Callable[[dict[str, Any]], str]
    undecided: Callable[[Any], list[str]]


def launch(config: StudyConfig, console: Console, writer: Writer) -> Launched:
    """Runs a study or continues it.

    Raises:
        PromptfrontError: see the classes in search/errors.py.
        ClusterError: Ray cannot be reached.
    """
    with lock.folder_lock(config.folder):
        console.print("Reading the model and the data ...", highlight=False)
        facts = _facts(config)
        with lock.study_lease(Study(config), console.print):
            study = Study(config)  # read again: the driver we waited for may have changed it
            return _launch(study, facts, console, writer)


def _launch(study: Study, facts: dict[str, Any], console: Console, writer: Writer) -> Launched:
    config = study.config
    if again := study.retry_lost():
        what = "1 trial" if again == 1 else f"{again} trials"
        console.print(f"Trying again what an earlier launch lost: {what}.", highlight=False)
    (config.folder / "config.yaml").write_text(study_file.dump(config), encoding="utf-8")
    scored = study.finished() and not finalists.untested(study) and not finalists.unmeasured(study)
    ended_before = scored and not undecided_yet(study)
    if not ended_before:  # a finished study keeps the provenance of the launch that made its results
        _write_facts(config, facts)
    tracker = Tracker(study, facts["backbone"]["parameters"])
    if ended_before:
        return _write(study, tracker, _ended(study, Outcome.NOTHING_TO_DO), writer)
    with log_file(config.folder), signals.handling_signals() as interrupted:
        try:
            outcome = _run(study, tracker, console, writer, interrupted)
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
    finished = study.finished() and not finalists.untested(study) and not undecided_yet(study)
    outcome = _ended(study, Outcome.DONE) if finished else Outcome.INTERRUPTED
    return _rows(study, outcome)


def _rows(study: Study, outcome: Outcome) -> dict[str, Any]:
    return study_rows(study, outcome.value, _with_test_hashes(study, _read_facts(study.config)))


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


def _run(
    study: Study, tracker: Tracker, console: Console, writer: Writer, interrupted: threading.Event
) -> Outcome:
    """Runs the search and the second stage, and adds seeds to methods that cannot be told apart."""
    os.environ.update(rounds.SETTINGS)
    config = study.config
    local = on_this_machine(config.cluster.address)
    ended = sum(trial.state.is_finished() for _, trial in study.trials())
    has = "trial has" if ended == 1 else "trials have"
    going_on = f"; going on: {ended} {has} ended before" if ended else ""
    console.print(f"{'Starting' if local else 'Joining'} Ray{going_on} ...", highlight=False)
    died = supervisor.ray_is_gone if supervisor.supervised() else None
    with connected(config.cluster.address, died) as there:
        signals.install_handlers(interrupted)  # again: Ray has replaced our handler
        if "://" not in (checkpoints := places.checkpoint_place(config)):
            refuse_unshared(Path(checkpoints))
        request = resources.per_trial(config.cluster, there.get("GPU", 0))
        at_once = resources.at_once(config, there)
        if at_once < 1:
            raise StudyFileError(
                f"a trial needs {resources.shown(request)}, but the cluster has {resources.shown(there)}: lower "
                "cluster.cpus_per_trial or gpus_per_trial"
            )
        with tracker.following():
            while True:
                if not study.finished():
                    rounds.train(study, console, request, at_once, interrupted, local)
                if interrupted.is_set():
                    return Outcome.INTERRUPTED
                if not study.finished():
                    return Outcome.BUDGET_ENDED
                second_stage.score(study, request, interrupted, console)
                if finalists.untested(study) or finalists.unmeasured(study):
                    return Outcome.INTERRUPTED
                if not more_seeds.add(study, lambda: writer.undecided(_rows(study, Outcome.DONE)), console):
                    return _ended(study, Outcome.DONE)


def _write(study: Study, tracker: Tracker, outcome: Outcome, writer: Writer) -> Launched:
    """Writes curves, report and MLflow, each even if a later one fails."""
    config = study.config
    said = Outcome.DONE if outcome is Outcome.NOTHING_TO_DO else outcome
    try:
        tracker.sync(patient=True)  # first, since the rows hold the ids of MLflow's runs
        unwritten = []
    except TrackingError as error:
        unwritten = [str(error)]
    rows = _rows(study, said)
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
