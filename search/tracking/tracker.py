"""Writes every trial as a run to MLflow; only the driver does this.

`sync` writes what is in the Optuna storage and not yet in MLflow. It can be called at any time and repeatedly, also
after a crash or after MLflow was away. A thread calls it while trials run, so training never waits for MLflow.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow.entities import Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from search.config import places
from search.storage.trials import FrozenTrial, TrialState
from search.study import finalists, race
from search.study.readings import curve
from search.study.records import Key
from search.study.study import Study, metric
from search.tracking import mlflow_store, trial_run
from search.tracking.mlflow_store import TrackingError
from search.tracking.study_run import StudyRun

_TRIAL = "promptfront.trial"
_STATE = "promptfront.state"  # the state of an ended trial; the run's status is written after it
_RUN_ID = "mlflow_run_id"  # name of the fact that holds a trial's run id
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}

_MOST_METRICS = 800  # metrics in a batch: MLflow takes 1,000 entries of all kinds
_INTERVAL = 2.0  # seconds between two writes
_PATIENCE = 30.0  # seconds to wait at the end for an MLflow that is away


class Tracker:
    """Writes a study to MLflow.

    Args:
        study: the study.
        backbone_parameters: the frozen model's number of parameters, to log each trial's share of them.

    Raises:
        TrackingError: MLflow cannot be reached.
    """

    def __init__(self, study: Study, backbone_parameters: int | None = None) -> None:
        self._study = study
        self._backbone_parameters = backbone_parameters
        # A second name for `best_validation`, with the metric's own name, under which people look for it.
        self._best = trial_run.metric_name(f"best_{metric(study)}".replace(" ", "_"))
        self._ended: set[Key] = set()  # trials that have ended and are written
        self._tested: set[Key] = set()
        self._logged: dict[Key, int] = {}
        self._in_doubt = False
        self._lock = threading.Lock()
        self._uri = places.mlflow_uri(study.config)
        with mlflow_store.errors(self._uri):
            self._client = mlflow_store.connect(self._uri)
            self._whole = StudyRun(self._client, study.config, self._uri)
            self._read_runs()

    def sync(self, patient: bool = False) -> None:
        """Writes everything that is not in MLflow yet.

        Args:
            patient: whether to wait a while for an MLflow that is away.

        Raises:
            TrackingError: MLflow cannot be reached. Nothing is lost: the next call writes what is missing.
        """
        deadline = time.monotonic() + (_PATIENCE if patient else 0.0)
        while True:
            try:
                return self._sync()
            except TrackingError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_INTERVAL)

    def _sync(self) -> None:
        with self._lock, self._written():
            tests = self._study.facts_of_trials(finalists.TEST)
            for key, trial in self._study.trials():
                # A trial without a configuration is just being proposed in another thread.
                if (
                    "config" in trial.user_attrs
                    and trial.state != TrialState.WAITING
                    and key not in self._ended
                ):
                    self._project(key, trial)
                if key in tests and key not in self._tested:
                    self._log_test(key, tests[key])

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Wraps writes. After an error they may have arrived all the same, so the next write first reads the runs."""
        with mlflow_store.errors(self._uri):
            if self._in_doubt:
                self._read_runs()
            self._in_doubt = True
            yield
            self._in_doubt = False

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Calls `sync` every few seconds in a thread; a later call writes what an earlier one could not."""
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(_INTERVAL):
                with contextlib.suppress(TrackingError):  # `finish` calls `sync` again and reports the error
                    self.sync()

        thread = threading.Thread(target=follow, name="mlflow", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def finish(self, status: str, report: dict[str, Any], description: str, folder: Path) -> None:
        """Writes what is left and ends all runs, the study's own included.

        The arguments are those of `StudyRun.end`.

        Raises:
            TrackingError: MLflow cannot be reached.
        """
        self.sync(patient=True)
        with self._lock, self._written():
            for key, trial in self._study.trials():
                if trial.state == TrialState.RUNNING and str(key) in self._ids:
                    self._client.set_terminated(self._ids[str(key)], "KILLED")
            self._whole.end(status, report, description, folder)

    def _project(self, key: Key, trial: FrozenTrial) -> None:
        """Brings the trial's run up to date, and creates it if needed."""
        status = _STATUS.get(trial.state)
        earlier = self._earlier.get(str(key))
        if earlier is not None:
            if earlier.data.tags.get(_STATE) == trial.state.name and earlier.info.status == status:
                del self._earlier[str(key)]
                self._ended.add(key)
                if "test" in earlier.data.metrics:
                    self._tested.add(key)
                return
            self._go_on(key, earlier)
        elif str(key) not in self._ids:
            self._create(key, trial)
        self._write(key, trial, status)

    def _go_on(self, key: Key, run: Run) -> None:
        """Continues the run of a trial after an interrupted launch or trial, or after a lost answer."""
        if self._study.fact_of_trial(key, _RUN_ID) != run.info.run_id:
            self._study.record_trial_fact(key, _RUN_ID, run.info.run_id)
        if run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
        if run.data.params:  # parameters are written first, so metrics may be there too
            self._logged[key] = self._last_step(run)
        del self._earlier[str(key)]

    def _write(self, key: Key, trial: FrozenTrial, status: str | None) -> None:
        """Writes what is new in as few calls as MLflow allows; for an ended trial also its final values.

        Args:
            key: the trial's key.
            trial: the trial as it is now.
            status: the run's final status; None while the trial runs.
        """
        params = [] if key in self._logged else trial_run.params(key, trial)
        logged = self._logged.get(key, 0)
        new = {step: value for step, value in curve(trial).items() if step > logged}
        metrics = trial_run.points(new) + (
            trial_run.final(trial, self._backbone_parameters, self._best) if status else []
        )
        tags = [RunTag(_STATE, trial.state.name)] if status else []
        run_id = self._ids[str(key)]
        if metrics or params or tags:
            for start in range(0, max(1, len(metrics)), _MOST_METRICS):
                given = {} if start else {"params": params, "tags": tags}
                self._client.log_batch(run_id, metrics[start : start + _MOST_METRICS], **given)
            self._logged[key] = max(new, default=logged)
        if status:
            if "error" in trial.user_attrs:
                self._client.log_text(run_id, trial.user_attrs["error"], "error.txt")
            self._client.set_terminated(run_id, status, trial_run.milliseconds(trial.datetime_complete))
            self._ended.add(key)
            del self._logged[key]

    def _log_test(self, key: Key, reading: dict[str, Any]) -> None:
        chosen = race.choose(self._study, key.method)
        mine = chosen is not None and self._study.trial(key).user_attrs["from"] == chosen
        tags = [RunTag("promptfront.chosen", "true")] if mine else []
        self._client.log_batch(self._ids[str(key)], metrics=trial_run.tested(reading), tags=tags)
        self._tested.add(key)

    def _create(self, key: Key, trial: FrozenTrial) -> None:
        run = self._client.create_run(
            self._whole.experiment,
            start_time=trial_run.milliseconds(trial.datetime_start),
            run_name=str(key),
            tags={
                MLFLOW_PARENT_RUN_ID: self._whole.id,
                _TRIAL: str(key),
                "promptfront.stage": key.stage,
                **trial_run.origin(key, trial.user_attrs),
            },
        )
        self._ids[str(key)] = run.info.run_id
        self._study.record_trial_fact(key, _RUN_ID, run.info.run_id)

    def _last_step(self, run: Run) -> int:
        if "validation" not in run.data.metrics:
            return 0
        return max(metric.step for metric in self._client.get_metric_history(run.info.run_id, "validation"))

    def _read_runs(self) -> None:
        """Reads the runs that MLflow already has, of earlier launches and of this one."""
        self._earlier = {run.data.tags[_TRIAL]: run for run in self._all_runs()}
        self._ids: dict[str, str] = {name: run.info.run_id for name, run in self._earlier.items()}
        self._logged.clear()
        self._in_doubt = False

    def _all_runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._whole.experiment], f"tags.`{_TRIAL}` != ''", max_results=1000, page_token=token
            )
            yield from page
            if not (token := page.token):
                return
