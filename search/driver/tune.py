"""Connects a `Study` to Ray Tune as its searcher, trial scheduler and stopper.

Tune only runs trials; the study's storage keeps all state. Ray's own OptunaSearch would tell Optuna that a trial
stopped early is complete, keep no evaluations and not resume safely, and Tune's restore forgets the scheduler.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Stopper
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.config.places import checkpoint_place
from search.driver.budget import Budget
from search.driver.engines import ENGINE, Engines, Place
from search.driver.losses import Losses
from search.job import Report
from search.storage.trials import FrozenTrial, TrialState
from search.strategy.early_stopping import SuccessiveHalving
from search.study.readings import curve
from search.study.records import Key
from search.study.study import Study, best_trial
from search.training.checkpoint_folder import CheckpointFolder

METRIC = "validation"


class _NotPickled:
    """Leaves nothing in Tune's pickles: they serve Tune's own restore, and we resume from the storage."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class StudySearcher(_NotPickled, Searcher):
    """Gives Tune the study's next trial, and tells the study how each trial ended.

    Args:
        study: the study.
        losses: which says when a trial may start.
        engines: in which trials train; None: each in a process of its own.

    Attributes:
        stopping: whether to start no more trials; running ones are left to be resumed.
        halted: why no trial can continue; None as long as they can.
    """

    def __init__(self, study: Study, losses: Losses, engines: Engines | None = None) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.study = study
        self.losses = losses
        self.engines = engines
        self.keys: dict[str, Key] = {}
        self.pruned: set[Key] = set()
        self.errors: dict[Key, str] = {}
        self.causes: dict[Key, str] = {}
        self.stopping = False
        self.halted: str | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job as a dict; None: ask again later; `Searcher.FINISHED`: no more."""
        if self.stopping:
            return Searcher.FINISHED
        if not self.losses.may_start(len(self.keys)):
            return None
        assignment = self.study.next()
        if assignment == "wait":
            return None
        if assignment == "done":
            return Searcher.FINISHED
        self.keys[trial_id] = assignment.key
        job = assignment.job(self.study.config).to_dict()
        return job if self.engines is None else {**job, ENGINE: self.engines.give(assignment.key)._asdict()}

    def record(self, trial_id: str, report: Report) -> Key:
        """Stores a report in the study and returns the trial's key."""
        key = self.keys[trial_id]
        if report.stops_study:
            self.halted, self.stopping = report.error, True
            return key
        if report.error is not None:
            if not report.out_of_memory:
                self.errors[key] = report.error
            return key
        assert report.step is not None, "an evaluation has its step"
        known = self.study.trial(key).user_attrs
        facts: dict[str, Any] = {
            name: count for name, count in report.counts.items() if known.get(name) != count
        }
        if report.resumed:
            facts["resumed"] = [*known.get("resumed", ()), report.step]
        self.study.record_evaluation(key, report.step, report.evaluation, **facts)
        if not report.resumed:
            self.losses.moved_on(key)
        return key

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the study how the trial ended; one that stops with the study stays running, to be resumed."""
        key = self.keys.pop(trial_id, None)
        if key is None:
            return
        place = None if self.engines is None else self.engines.take_back(key)
        done = curve(self.study.trial(key))
        last = done[max(done)] if done else None
        complete = last is not None and max(done) >= self.study.config.training.max_steps
        best = best_trial(self.study, key.method)
        if key in self.errors:
            self.study.tell(key, TrialState.FAIL, error=self.errors.pop(key))
        elif key in self.pruned:
            self.study.tell(key, TrialState.PRUNED)
        elif complete:
            assert last is not None
            self.study.tell(key, TrialState.COMPLETE, last["validation"])
        elif not self.stopping:
            self._lost(key, place)
            return
        self._remove_checkpoints(key, best)
        self.losses.ended()

    def _remove_checkpoints(self, key: Key, best: FrozenTrial | None) -> None:
        """Removes what nothing reads any more once a trial has ended.

        Of a search trial only the method's best is read, by an export before there are finalists; of a finalist's run the last
        checkpoint.

        Args:
            key: the trial.
            best: the method's best search trial before this one ended.
        """
        if not self.study.trial(key).state.is_finished():
            return
        if key.stage == "finalists":
            self._folder(key).keep(1)
            return
        now = best_trial(self.study, key.method)
        for number in {key.number} | ({best.number} if best else set()):
            self._folder(Key(key.method, "search", number)).keep(1 if now and number == now.number else 0)

    def _folder(self, key: Key) -> CheckpointFolder:
        return CheckpointFolder(checkpoint_place(self.study.config, str(key)))

    def _lost(self, key: Key, place: Place | None) -> None:
        """The trial's process or node is gone, or had no memory: it starts again, unless the trial itself is the reason."""
        why, counts = reason(self.causes.pop(key, None))
        first = self.engines is None or place is None or self.engines.first_loss(place)
        failed = self.losses.lost(key, why, len(self.keys), counts, first)
        if failed is None:
            self.study.give_back(key)
        else:
            self.study.tell(key, TrialState.FAIL, error=failed)

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the storage keeps all state."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: the storage keeps all state."""


def reason(cause: str | None) -> tuple[str, bool]:
    """Why a trial was lost, in words, and whether it may be the reason itself.

    Args:
        cause: what Ray says of it; None if the trial itself has said that there is no memory.
    """
    if cause is None or "running low on memory" in cause:
        return "there was no memory left for it", True
    if "node has died" in cause or "node was terminated" in cause or "node died" in cause:
        return "its node is gone", False
    return "its process ended", True


class HalvingScheduler(_NotPickled, FIFOScheduler):
    """Records every report, and stops search trials that fall behind (see `search/strategy/early_stopping.py`)."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher
        config = searcher.study.config
        self._halving = SuccessiveHalving(config.search, config.training)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        if result.get("error") is None and "step" not in result:
            return TrialScheduler.CONTINUE  # Tune adds a last result of its own when the function returns
        report = Report.from_result(result)
        key = self._searcher.record(trial.trial_id, report)
        if report.error is not None:
            return TrialScheduler.CONTINUE
        if not self._falls_behind(key, report):
            return TrialScheduler.CONTINUE
        self._searcher.pruned.add(key)
        return TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        told = Path(trial.error_file) if trial.error_file else None
        text = told.read_text(encoding="utf-8") if told is not None and told.exists() else ""
        self._searcher.causes[self._searcher.keys[trial.trial_id]] = text
        super().on_trial_error(tune_controller, trial)

    def _falls_behind(self, key: Key, report: Report) -> bool:
        if key.stage != "search":
            return False
        study = self._searcher.study
        assert report.step is not None
        assert report.validation is not None
        assert report.deployed_parameters is not None
        others = [
            (score, study.trial(Key(key.method, "search", number)).user_attrs["deployed_parameters"])
            for number, score in study.scores_at(key.method, report.step).items()
            if number != key.number
        ]
        return self._halving.stops(report.step, report.validation, report.deployed_parameters, others)


class Forgetting(_NotPickled, tune.Callback):
    """Drops what Tune keeps of each metric of an ended trial, 60 KiB that only Tune's own analysis reads."""

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        trial.run_metadata.metric_analysis = {}
        trial.run_metadata.metric_n_steps = {}

    on_trial_error = on_trial_complete


class StudyStopper(_NotPickled, Stopper):
    """Stops the study cleanly on a signal or when its budget is used up; running trials can be resumed.

    Args:
        searcher: the searcher, which then starts no more trials.
        interrupted: an event that a signal sets.
        budget: the study's hours and GPU-hours.
    """

    def __init__(self, searcher: StudySearcher, interrupted: threading.Event, budget: Budget) -> None:
        self._searcher = searcher
        self._interrupted = interrupted
        self._budget = budget

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self._budget.used_up(len(self._searcher.keys)) or self._interrupted.is_set():
            self._searcher.stopping = True
        return self._searcher.stopping
