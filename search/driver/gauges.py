"""Shows a study's progress as Ray metrics, for Prometheus and Grafana (dashboards/grafana/promptfront.json).

The driver sets the gauges; the Ray agent of its node exports each as `ray_` and its name. Without a collector they cost
almost nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from ray import tune
from ray.util.metrics import Gauge

from search.study.study import Study, best

_INTERVAL = 5.0  # seconds; Ray's agents export every ten
_STATES = ("COMPLETE", "RUNNING", "PRUNED", "FAIL", "WAITING")


class Gauges(tune.Callback):
    """Updates the gauges while Tune runs.

    `promptfront_trials` and `promptfront_finalist_runs` count by study, method and state (Optuna's names).
    `promptfront_best_validation` is the best validation score of a method's complete trials, and
    `promptfront_trials_planned` the number of trials planned so far.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        keys = ("study", "method")
        self._trials = Gauge("promptfront_trials", "Trials of the search", (*keys, "state"))
        self._runs = Gauge("promptfront_finalist_runs", "Retrainings of finalists", (*keys, "state"))
        self._planned = Gauge("promptfront_trials_planned", "Planned trials of the search", keys)
        self._best = Gauge("promptfront_best_validation", "Best validation score of the search", keys)
        self._last = 0.0

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (tune.Callback, ())  # Tune pickles its callbacks for a restore, which we do not use

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self._last >= _INTERVAL:
            self.update()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self.update()

    def update(self) -> None:
        """Sets every gauge to the current value."""
        self._last = time.monotonic()
        for method in self._study.config.methods:
            tags = {"study": self._study.config.study, "method": method}
            for gauge, stage in ((self._trials, "search"), (self._runs, "finalists")):
                states = Counter(trial.state.name for trial in self._study.of(method, stage))
                for state in _STATES:
                    gauge.set(states[state], {**tags, "state": state})
            self._planned.set(self._study.planned(method), tags)
            if (score := best(self._study, method)) is not None:
                self._best.set(score, tags)
