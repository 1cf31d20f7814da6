"""The door to Ray Tune: its searcher, its trial scheduler and its stopper, all three views of one `Study`.

Ray's own OptunaSearch tells Optuna that a trial stopped early is complete, keeps no evaluations, and cannot be
resumed safely; Tune's restore forgets the scheduler. Here Tune only runs trials, and remembers nothing.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from optuna.trial import TrialState
from ray.tune import Stopper
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.driver.budget import Budget
from search.strategy import early_stopping
from search.study.study import Key, Study, evaluations
from search.training.worker import Job

METRIC = "validation"
_COUNTS = ("trained_parameters", "deployed_parameters", "head_parameters")
_COSTS = ("seconds", "step_seconds", "peak_memory_bytes", "latency_seconds")
_KEPT = ("validation", "loss", "checkpoint", *_COSTS)


class _NotInSnapshots:
    """Tune pickles what it is given for its own restore; we resume from the storage, so there is nothing to keep."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class StudySearcher(_NotInSnapshots, Searcher):
    """Hands Tune the study's next trial, and tells the study how each ended.

    Args:
        study: the study.

    Attributes:
        limit: trials at once.
        stopping: hand out no more, and leave running trials to be resumed.
        halted: why no trial can go on, where that is so.
    """

    def __init__(self, study: Study) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.study = study
        self.keys: dict[str, Key] = {}
        self.pruned: set[Key] = set()
        self.errors: dict[Key, str] = {}
        self.limit = 1
        self.stopping = False
        self.halted: str | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A job as a dict; None to be asked again later; `Searcher.FINISHED` at the end."""
        if self.stopping:
            return Searcher.FINISHED
        if len(self.keys) >= self.limit:
            return None
        assignment = self.study.next()
        if assignment == "wait":
            return None
        if assignment == "done":
            return Searcher.FINISHED
        self.keys[trial_id] = assignment.key
        return Job.of(self.study.config, assignment).to_dict()

    def record(self, trial_id: str, result: dict[str, Any]) -> Key:
        """Keeps a report in the study."""
        key = self.keys[trial_id]
        if result["stops_study"]:
            self.halted, self.stopping = result["error"], True
            return key
        if result["error"] is not None:
            self.errors[key] = result["error"]
            return key
        known = self.study.trial(key).user_attrs
        facts = {name: result[name] for name in _COUNTS if known.get(name) != result[name]}
        if result["resumed"]:
            facts["resumed"] = [*known.get("resumed", ()), result["step"]]
        kept = {name: result.get(name) for name in _KEPT}  # a checkpoint of before may lack a cost
        nested = {name: json.loads(result[name]) for name in ("task_scores", "metrics")}
        self.study.record_evaluation(key, result["step"], {**kept, **nested}, **facts)
        return key

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the study; a trial that is stopped with the study stays as it is, to be resumed."""
        key = self.keys.pop(trial_id, None)
        if key is None:
            return
        done = evaluations(self.study.trial(key))
        last = done[max(done)] if done else None
        complete = last is not None and max(done) >= self.study.config.training.max_steps
        if key in self.errors:
            self.study.tell(key, TrialState.FAIL, error=self.errors.pop(key))
        elif key in self.pruned:
            self.study.tell(key, TrialState.PRUNED)
        elif complete:
            assert last is not None
            self.study.tell(key, TrialState.COMPLETE, last["validation"])
        elif not self.stopping:
            self.study.tell(
                key, TrialState.FAIL, error="the worker process was lost three times at the same step"
            )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the storage has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the storage has it all."""


class HalvingScheduler(_NotInSnapshots, FIFOScheduler):
    """Records every report, and stops search trials that fall behind (`search/strategy/early_stopping.py`)."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher
        config = searcher.study.config
        self._rungs = early_stopping.rungs(
            config.training.max_steps, config.training.eval_steps, config.search.eta
        )

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        if result.get("error") is None and "step" not in result:
            return TrialScheduler.CONTINUE  # Tune's own last word on a function that has returned
        key = self._searcher.record(trial.trial_id, result)
        if result["error"] is None and not result["resumed"]:
            # It gets on. Tune counts the losses of a whole life, and fails what is lost again and again where it stands.
            trial.run_metadata.num_failures = 0
        if result["error"] is not None or not self._falls_behind(key, result):
            return TrialScheduler.CONTINUE
        self._searcher.pruned.add(key)
        return TrialScheduler.STOP

    def _falls_behind(self, key: Key, result: dict[str, Any]) -> bool:
        study = self._searcher.study
        if (
            key.stage != "search"
            or not study.config.search.early_stopping
            or result["step"] not in self._rungs
        ):
            return False
        peers = [
            score
            for number, score in study.scores_at(key.method, result["step"]).items()
            if number != key.number
            and study.trial(Key(key.method, "search", number)).user_attrs["deployed_parameters"]
            <= result["deployed_parameters"]
        ]
        return early_stopping.stops(result["validation"], peers, study.config.search.eta)


class StopWhen(_NotInSnapshots, Stopper):
    """Ends the study cleanly, on a signal or when its budget is used up; running trials can be resumed.

    Args:
        searcher: told to hand out no more.
        interrupted: set by a signal.
        budget: hours and GPU-hours.
    """

    def __init__(self, searcher: StudySearcher, interrupted: threading.Event, budget: Budget) -> None:
        self._searcher = searcher
        self._interrupted = interrupted
        self._budget = budget
        self.budget_ended = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        self.budget_ended = self._budget.used_up(len(self._searcher.keys)) or self.budget_ended
        if self._interrupted.is_set() or self.budget_ended:
            self._searcher.stopping = True
        return self._searcher.stopping
