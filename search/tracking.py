"""The study as MLflow shows it: a projection of the Optuna storage, made by the driver alone.

`sync` writes whatever is in the storage and not yet in MLflow, so it can be called at any time and again: after a
crash, or after MLflow was away. A thread calls it while trials run; training never waits for MLflow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from search import held_out
from search.config import StudyConfig
from search.errors import StorageError
from search.study import Key, Study, evaluations, loss_weights

_TRIAL = "promptfront.trial"
_EXPERIMENT_KIND = "mlflow.experimentKind"  # without it, MLflow's page opens for chat applications
_STATE = "promptfront.state"  # set with the last that is written of a trial
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_INTERVAL = 2.0  # seconds between two writes of the thread


class TrackingError(StorageError):
    """MLflow cannot be reached, or refuses what we write."""


def uri(config: StudyConfig) -> str:
    """Where MLflow keeps the study: the study file's, else MLFLOW_TRACKING_URI, else SQLite in output_dir."""
    database = (config.output_dir / "mlflow.db").absolute().as_posix()
    return config.tracking.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"


class Tracker:
    """Writes a study to MLflow.

    Raises:
        TrackingError: MLflow cannot be reached.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._uri = uri(study.config)
        self._ended: set[Key] = set()
        self._tested: set[Key] = set()
        self._logged: dict[Key, int] = {}
        self._lock = threading.Lock()
        with self._errors():
            if self._uri.startswith("sqlite:///"):
                Path(self._uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=self._uri)
            self._experiment = self._open_experiment()
            self._runs = {run.data.tags[_TRIAL]: run for run in self._all_runs()}
            self._parent = self._open_parent()

    def sync(self) -> None:
        """Writes what is new.

        Raises:
            TrackingError: MLflow cannot be reached; nothing is lost, the next call goes on.
        """
        with self._lock, self._errors():
            tests = self._study.late_facts(held_out.TEST)
            for key, trial in self._study.trials():
                # a trial that has no configuration yet is being proposed, in another thread
                if (
                    "config" in trial.user_attrs
                    and trial.state != TrialState.WAITING
                    and key not in self._ended
                ):
                    self._project(key, trial)
                if key in tests and key not in self._tested:
                    self._log_test(key, tests[key])

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Calls `sync` every few seconds in a thread; MLflow's absence is made up for by a later call."""
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(_INTERVAL):
                with contextlib.suppress(TrackingError):  # `finish` calls again, and tells
                    self.sync()

        thread = threading.Thread(target=follow, name="mlflow", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def finish(self, status: str, description: str, report: Path) -> None:
        """Writes what is left, ends the study's run, and leaves no run RUNNING.

        Args:
            status: of the study's run: FINISHED, KILLED (it can be resumed) or FAILED.
            description: Markdown.
            report: folder, kept as an artifact.

        Raises:
            TrackingError: MLflow cannot be reached.
        """
        self.sync()
        with self._lock, self._errors():
            for key, trial in self._study.trials():
                if trial.state == TrialState.RUNNING and str(key) in self._runs:
                    self._client.set_terminated(self._run_id(key), "KILLED")
            self._client.set_tag(self._parent, "mlflow.note.content", description)
            self._client.log_artifacts(self._parent, str(report), "report")
            self._client.set_terminated(self._parent, status)

    def _project(self, key: Key, trial: FrozenTrial) -> None:
        """Brings the trial's run up to date, creating it if need be."""
        run = self._runs.get(str(key)) or self._create(key, trial)
        status = _STATUS.get(trial.state)
        if run.data.tags.get(_STATE) == trial.state.name:  # written by an earlier launch
            self._ended.add(key)
            if "test" in run.data.metrics:
                self._tested.add(key)
            return
        if key not in self._logged:
            self._logged[key] = self._last_step(run)
            if run.info.status != "RUNNING":  # interrupted, and going on
                self._client.update_run(run.info.run_id, status="RUNNING")
        new = {step: value for step, value in evaluations(trial).items() if step > self._logged[key]}
        if new:
            self._client.log_batch(run.info.run_id, metrics=_curve(new))
            self._logged[key] = max(new)
        if status is not None:
            self._end(run.info.run_id, trial, status)
            self._ended.add(key)

    def _end(self, run_id: str, trial: FrozenTrial, status: str) -> None:
        scores = [evaluation["validation"] for evaluation in evaluations(trial).values()]
        facts = trial.user_attrs
        final = {
            name: facts.get(name)
            for name in ("trained_parameters", "deployed_parameters", "head_parameters", "seconds")
        }
        if scores:
            final |= {"best_validation": max(scores)}
        now = _milliseconds(trial.datetime_complete)
        metrics = [Metric(name, float(value), now, 0) for name, value in final.items() if value is not None]
        self._client.log_batch(run_id, metrics=metrics, tags=[RunTag(_STATE, trial.state.name)])
        if "error" in facts:
            self._client.log_text(run_id, facts["error"], "error.txt")
        self._client.set_terminated(run_id, status, now)

    def _log_test(self, key: Key, reading: dict[str, Any]) -> None:
        scores = {
            "test": reading["test"],
            **_by_task("test", reading["task_scores"]),
            **{
                _metric_name(f"test_{task}_{name}"): value
                for task, metrics in reading["metrics"].items()
                for name, value in metrics.items()
            },
        }
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._run_id(key), metrics=[Metric(name, value, now, 0) for name, value in scores.items()]
        )
        self._tested.add(key)

    def _create(self, key: Key, trial: FrozenTrial) -> Run:
        facts = trial.user_attrs
        params = {"method": key.method, "seed": facts["seed"], **facts["config"], **loss_weights(facts)}
        run = self._client.create_run(
            self._experiment,
            start_time=_milliseconds(trial.datetime_start),
            run_name=str(key),
            tags={
                MLFLOW_PARENT_RUN_ID: self._parent,
                _TRIAL: str(key),
                "promptfront.stage": key.stage,
                **({"promptfront.from": f"{key.method}-{facts['from']:03d}"} if "from" in facts else {}),
            },
        )
        self._runs[str(key)] = run
        self._study.record_late(key, "mlflow_run_id", run.info.run_id)
        logged = [Param(name, str(value)) for name, value in params.items()]
        self._client.log_batch(run.info.run_id, params=logged)
        return run

    def _run_id(self, key: Key) -> str:
        run_id: str = self._runs[str(key)].info.run_id
        return run_id

    def _last_step(self, run: Run) -> int:
        if "validation" not in run.data.metrics:
            return 0
        return max(metric.step for metric in self._client.get_metric_history(run.info.run_id, "validation"))

    def _open_experiment(self) -> str:
        name = self._study.config.study
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage != "active":
                self._client.restore_experiment(found.experiment_id)
            experiment_id: str = found.experiment_id
            return experiment_id
        # A local store would put artifacts under the current directory; they belong beside the database.
        local = (self._study.config.output_dir / "mlartifacts").absolute().as_uri()
        location = f"{local}/{name}" if self._uri.startswith("sqlite:") else None
        created: str = self._client.create_experiment(
            name, artifact_location=location, tags={_EXPERIMENT_KIND: "custom_model_development"}
        )
        return created

    def _open_parent(self) -> str:
        """The study's run, going on."""
        kind = "promptfront.kind"
        found = self._client.search_runs([self._experiment], f"tags.`{kind}` = 'study'", max_results=1)
        if found:
            parent: str = found[0].info.run_id
            self._client.update_run(parent, status="RUNNING")
            return parent
        tags = resolve_tags({kind: "study"})  # with the user and the commit, as MLflow's own runs have them
        run = self._client.create_run(self._experiment, run_name=self._study.config.study, tags=tags)
        params = {
            "model": self._study.config.model.name_or_path,
            "tasks": ", ".join(task.name for task in self._study.config.tasks),
            "methods": ", ".join(self._study.config.methods),
            "trials_per_method": self._study.config.search.trials_per_method,
            "seed": self._study.config.seed,
        }
        self._client.log_batch(
            run.info.run_id, params=[Param(name, str(value)) for name, value in params.items()]
        )
        run_id: str = run.info.run_id
        return run_id

    def _all_runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_TRIAL}` != ''", max_results=1000, page_token=token
            )
            yield from page
            if not (token := page.token):
                return

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackingError(f"cannot write to MLflow at {self._uri.split('@')[-1]}: {error}") from error


def _curve(steps: dict[int, dict[str, Any]]) -> list[Metric]:
    now = int(time.time() * 1000)
    found = []
    for step, evaluation in steps.items():
        values = {"validation": evaluation["validation"], "loss": evaluation["loss"]}
        values |= _by_task("validation", evaluation["task_scores"])
        values |= {_metric_name(name): value for name, value in evaluation["metrics"].items()}
        found += [Metric(name, value, now, step) for name, value in values.items() if value is not None]
    return found


def _by_task(split: str, scores: dict[str, float]) -> dict[str, float]:
    """Each task's score, and of several tasks the worst."""
    worst = {f"{split}_worst": min(scores.values())} if len(scores) > 1 else {}
    return {**{f"{split}_{task}": score for task, score in scores.items()}, **worst}


def _metric_name(metric: str) -> str:
    """A name that MLflow takes: labels from the data may have any characters."""
    return re.sub(r"[^\w ./-]", "_", metric)[:250]


def _milliseconds(moment: datetime | None) -> int:
    return int((moment.timestamp() if moment else time.time()) * 1000)
