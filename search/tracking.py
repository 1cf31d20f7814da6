"""Every trial as a run in MLflow: a projection of the Optuna storage, made by the driver alone.

`sync` writes whatever is in the storage and not yet in MLflow, so it can be called at any time and again: after a
crash, or after MLflow was away. A thread calls it while trials run; training never waits for MLflow.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.trial import FrozenTrial, TrialState

from search import held_out, mlflow_store, results
from search.mlflow_store import TrackingError
from search.study import Key, Study, evaluations, loss_weights
from search.study_run import StudyRun

_TRIAL = "promptfront.trial"
_STATE = "promptfront.state"  # set with the last that is written of a trial
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
_FACTS = (
    "trained_parameters",
    "deployed_parameters",
    "head_parameters",
    "seconds",
    "step_seconds",
    "peak_memory_bytes",
)

_INTERVAL = 2.0  # seconds between two writes of the thread


class Tracker:
    """Writes a study to MLflow.

    Args:
        study: the study.
        backbone_parameters: of the frozen model, to give each trial's share of them.

    Raises:
        TrackingError: MLflow cannot be reached.
    """

    def __init__(self, study: Study, backbone_parameters: int | None = None) -> None:
        self._study = study
        self._backbone_parameters = backbone_parameters
        # Beside `best_validation`, which every study has: the name under which people look for it.
        self._best = _metric_name(f"best_{results.metric(study)}".replace(" ", "_"))
        self._ended: set[Key] = set()
        self._tested: set[Key] = set()
        self._logged: dict[Key, int] = {}
        self._lock = threading.Lock()
        self._uri = mlflow_store.uri(study.config)
        with mlflow_store.errors(self._uri):
            self._client = mlflow_store.connect(self._uri)
            self._whole = StudyRun(self._client, study.config, self._uri)
            self._runs = {run.data.tags[_TRIAL]: run for run in self._all_runs()}

    def sync(self) -> None:
        """Writes what is new.

        Raises:
            TrackingError: MLflow cannot be reached; nothing is lost, the next call goes on.
        """
        with self._lock, mlflow_store.errors(self._uri):
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

    def finish(self, status: str, report: dict[str, Any], description: str, folder: Path) -> None:
        """Writes what is left, ends the study's run, and leaves no run RUNNING.

        Args: as of `StudyRun.end`.

        Raises:
            TrackingError: MLflow cannot be reached.
        """
        self.sync()
        with self._lock, mlflow_store.errors(self._uri):
            for key, trial in self._study.trials():
                if trial.state == TrialState.RUNNING and str(key) in self._runs:
                    self._client.set_terminated(self._run_id(key), "KILLED")
            self._whole.end(status, report, description, folder)

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
        facts = trial.user_attrs
        now = _milliseconds(trial.datetime_complete)
        final = {name: facts.get(name) for name in _FACTS}
        if self._backbone_parameters and final["deployed_parameters"] is not None:
            final["backbone_share"] = final["deployed_parameters"] / self._backbone_parameters
        metrics = [Metric(name, float(value), now, 0) for name, value in final.items() if value is not None]
        scores = {step: evaluation["validation"] for step, evaluation in evaluations(trial).items()}
        if scores:
            step = max(scores, key=lambda step: scores[step])
            metrics += [Metric(name, scores[step], now, step) for name in ("best_validation", self._best)]
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
            self._run_id(key),
            metrics=[Metric(name, value, now, 0) for name, value in scores.items()],
            tags=[RunTag("promptfront.chosen", "true")],  # the test split is read for no other
        )
        self._tested.add(key)

    def _create(self, key: Key, trial: FrozenTrial) -> Run:
        facts = trial.user_attrs
        config = {name: value for name, value in facts["config"].items() if value != ""}  # a text not used
        params = {"method": key.method, "seed": facts["seed"], **config, **loss_weights(facts)}
        run = self._client.create_run(
            self._whole.experiment,
            start_time=_milliseconds(trial.datetime_start),
            run_name=str(key),
            tags={
                MLFLOW_PARENT_RUN_ID: self._whole.id,
                _TRIAL: str(key),
                "promptfront.stage": key.stage,
                **_origin(key, facts),
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

    def _all_runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._whole.experiment], f"tags.`{_TRIAL}` != ''", max_results=1000, page_token=token
            )
            yield from page
            if not (token := page.token):
                return


def _origin(key: Key, facts: dict[str, Any]) -> dict[str, str]:
    """Tags of a finalist: the search trial whose configuration it retrains, why, and with which of the seeds."""
    if key.stage == "search":
        return {}
    return {
        "promptfront.from": str(Key(key.method, "search", facts["from"])),
        "promptfront.role": facts["role"],
        "promptfront.seed_index": str(facts["seed_index"]),
    }


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
