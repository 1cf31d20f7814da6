"""The searches that benchmarks/search_quality.py compares, each behind the same three calls."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

import methods
from benchmarks.surface import EVAL_STEPS, MAX_STEPS, METHODS
from methods.space import Choice, Float, Int
from search.config.study_config import StudyConfig
from search.driver.losses import Losses
from search.driver.tune import HalvingScheduler, StudySearcher
from search.seeds import derive
from search.study.study import Study

SLOTS = 4
"""Trials at once."""
ETA = 3
STEPS = range(EVAL_STEPS, MAX_STEPS + 1, EVAL_STEPS)


class Search(Protocol):
    """What proposes trials, hears of their evaluations, and may stop them."""

    def ask(self, name: str) -> tuple[str, dict[str, Any], int] | None:
        """Method, configuration and seed of the trial `name`; None: no more now."""

    def report(self, name: str, step: int, score: float, cost: int) -> bool:
        """Whether the trial is to be stopped."""

    def end(self, name: str) -> None:
        """The trial was stopped, or trained to its end."""


class Ours:
    """The product's searcher and scheduler, called as Ray Tune calls them; with `finalists`, the second stage too.

    `rows`: those of validation, whose score is an accuracy; `trivial`: that of the most frequent label.
    """

    def __init__(
        self,
        seed: int,
        folder: Path,
        rows: int,
        trivial: float,
        finalists: bool = False,
        *,
        methods: Sequence[str] = METHODS,
        steps: Sequence[int] = STEPS,
        **search: Any,
    ) -> None:
        self.study = Study(study_config(seed, folder, methods, steps, **search))
        self._searcher = StudySearcher(self.study, Losses(self.study, SLOTS, print))
        self._scheduler = HalvingScheduler(self._searcher)
        self._finalists, self._rows, self._trivial = finalists, rows, trivial

    def ask(self, name: str) -> tuple[str, dict[str, Any], int] | None:
        job = self._searcher.suggest(name)
        if not isinstance(job, dict) or (job["stage"] == "finalists" and not self._finalists):
            return None
        return job["method"], job["config"], job["seed"]

    def report(self, name: str, step: int, score: float, cost: int) -> bool:
        trial: Any = SimpleNamespace(trial_id=name)
        error = math.sqrt(max(score * (1 - score), 0.0) / self._rows)
        report = evaluation(step, score, cost) | {"standard_error": error, "trivial": self._trivial}
        return self._scheduler.on_trial_result(None, trial, report) == "STOP"

    def end(self, name: str) -> None:
        self._searcher.on_trial_complete(name)


class Random:
    """A method and its hyperparameters at random; every trial is trained to its end."""

    def __init__(self, seed: int) -> None:
        self._study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        self._seed = seed

    def ask(self, name: str) -> tuple[str, dict[str, Any], int]:
        return (*flat(self._study.ask()), derive(self._seed, "trial", name))

    def report(self, name: str, step: int, score: float, cost: int) -> bool:
        return False

    def end(self, name: str) -> None:
        pass


class Rays:
    """OptunaSearch and ASHAScheduler, called as Ray Tune calls them; with `costs`, OptunaSearch has both objectives."""

    def __init__(
        self, seed: int, costs: bool, methods: Sequence[str] = METHODS, steps: Sequence[int] = STEPS
    ) -> None:
        random.seed(seed)
        np.random.seed(seed)
        metric: Any = ["score", "cost"] if costs else "score"
        self._search = OptunaSearch(
            space=lambda trial: dict(zip(("method", "config"), flat(trial, methods), strict=True)),
            metric=metric,
            mode=["max", "min"] if costs else "max",
            seed=seed,
        )
        self._scheduler = ASHAScheduler(
            time_attr="training_iteration",
            metric="score",
            mode="max",
            max_t=steps[-1],
            grace_period=steps[0],
            reduction_factor=ETA,
        )
        self._trials: dict[str, Any] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._seed = seed

    def ask(self, name: str) -> tuple[str, dict[str, Any], int]:
        asked: Any = self._search.suggest(name)
        self._trials[name] = SimpleNamespace(trial_id=name, run_metadata=SimpleNamespace(num_failures=0))
        self._scheduler.on_trial_add(None, self._trials[name])  # type: ignore[arg-type]
        return asked["method"], asked["config"], derive(self._seed, "trial", name)

    def report(self, name: str, step: int, score: float, cost: int) -> bool:
        result = self._last[name] = {"training_iteration": step, "score": score, "cost": cost}
        decision = self._scheduler.on_trial_result(None, self._trials[name], result)  # type: ignore[arg-type]
        if decision == TrialScheduler.CONTINUE:
            self._search.on_trial_result(name, result)
        return decision == TrialScheduler.STOP

    def end(self, name: str) -> None:
        self._search.on_trial_complete(name, self._last[name])
        self._scheduler.on_trial_complete(None, self._trials.pop(name), self._last.pop(name))  # type: ignore[arg-type]


def flat(trial: Any, names: Sequence[str] = METHODS) -> tuple[str, dict[str, Any]]:
    """One space for all methods: a choice of the method, and then what it has."""
    method = trial.suggest_categorical("method", names)
    config: dict[str, Any] = {}
    for name, allowed in methods.get(method).Config.space().items():
        match allowed:
            case Float(low, high, log):
                config[name] = trial.suggest_float(f"{method}.{name}", low, high, log=log)
            case Int(low, high, log):
                config[name] = trial.suggest_int(f"{method}.{name}", low, high, log=log)
            case Choice(choices):
                config[name] = trial.suggest_categorical(f"{method}.{name}", choices)
    return method, config


def study_config(
    seed: int, folder: Path, methods: Sequence[str] = METHODS, steps: Sequence[int] = STEPS, **search: Any
) -> StudyConfig:
    task = {"name": "task", "text": "text", "label": "label"}
    data = {"path": "csv", "data_files": {"train": "none.csv", "test": "none.csv"}, "test_split": "test"}
    return StudyConfig.model_validate(
        {
            "study": "quality",
            "output_dir": str(folder),
            "seed": seed,
            "model": {"name_or_path": "none"},
            "tasks": [{**task, "data": data}],
            "methods": {name: {} for name in methods},
            "search": {"eta": ETA, **search},
            "training": {"max_steps": steps[-1], "eval_steps": steps[0]},
        }
    )


def evaluation(step: int, score: float, cost: int) -> dict[str, Any]:
    """A trial's report."""
    return {
        "step": step,
        "validation": score,
        "task_scores": json.dumps({"task": score}),
        "metrics": "{}",
        "loss": 1.0,
        "seconds": float(step),
        "checkpoint": None,
        "error": None,
        "stops_study": False,
        "resumed": False,
        "trained_parameters": cost,
        "deployed_parameters": cost,
        "head_parameters": 770,
        "step_seconds": 1.0,
        "peak_memory_bytes": None,
        "latency_seconds": None,
    }
