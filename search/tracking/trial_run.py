"""The content of a trial's run in MLflow: parameters, tags, curves by step, costs and scores."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

from mlflow.entities import Metric, Param

from search.job import COSTS, COUNTS
from search.storage.trials import FrozenTrial
from search.study.readings import known_of, loss_weights, scores
from search.study.records import Key


def params(key: Key, trial: FrozenTrial) -> list[Param]:
    """The run's parameters: method, seed, the hyperparameters that apply, and the loss weights."""
    facts = trial.user_attrs
    params = {"method": key.method, "seed": facts["seed"], **facts["config"], **loss_weights(facts)}
    return [Param(name, str(value)) for name, value in params.items()]


def origin(key: Key, facts: dict[str, Any]) -> dict[str, str]:
    """The tags of a finalist: the search trial that it retrains, the reason, and the index of its seed."""
    if key.stage == "search":
        return {}
    return {
        "promptfront.from": str(Key(key.method, "search", facts["from"])),
        "promptfront.role": facts["role"],
        "promptfront.seed_index": str(facts["seed_index"]),
    }


def points(steps: dict[int, dict[str, Any]]) -> list[Metric]:
    """The metrics of evaluations; `steps` is what `records.curve` returns."""
    now = int(time.time() * 1000)
    found = []
    for step, evaluation in steps.items():
        values = {"validation": evaluation["validation"], "loss": evaluation["loss"]}
        values |= _by_task("validation", evaluation["task_scores"])
        values |= {metric_name(name): value for name, value in evaluation["metrics"].items()}
        found += [Metric(name, value, now, step) for name, value in values.items() if value is not None]
    return found


def final(trial: FrozenTrial, backbone_parameters: int | None, best: str) -> list[Metric]:
    """The final metrics: costs, and the score of the last evaluation, as `best_validation` and under the name `best`.

    It is the score that the search compares and the report calls a trial's validation, even if an earlier step was better.
    """
    facts, now = known_of(trial), milliseconds(trial.datetime_complete)
    final = {name: facts.get(name) for name in (*COUNTS, *COSTS)}
    if backbone_parameters and final["deployed_parameters"] is not None:
        final["backbone_share"] = final["deployed_parameters"] / backbone_parameters
    metrics = [Metric(name, float(value), now, 0) for name, value in final.items() if value is not None]
    if reached := scores(trial):
        step = max(reached)
        metrics += [Metric(name, reached[step], now, step) for name in ("best_validation", best)]
    return metrics


def tested(reading: dict[str, Any]) -> list[Metric]:
    """The metrics of the scores on test."""
    scores = {
        "test": reading["test"],
        **_by_task("test", reading["task_scores"]),
        **{
            metric_name(f"test_{task}_{name}"): value
            for task, metrics in reading["metrics"].items()
            for name, value in metrics.items()
        },
    }
    now = int(time.time() * 1000)
    return [Metric(name, value, now, 0) for name, value in scores.items()]


def _by_task(split: str, scores: dict[str, float]) -> dict[str, float]:
    """Each task's score, and the worst if there are several tasks."""
    worst = {f"{split}_worst": min(scores.values())} if len(scores) > 1 else {}
    return {**{f"{split}_{task}": score for task, score in scores.items()}, **worst}


def metric_name(metric: str) -> str:
    """A metric's name with only the characters that MLflow allows; labels from the data may have others."""
    return re.sub(r"[^\w ./-]", "_", metric)[:250]


def milliseconds(moment: datetime | None) -> int:
    """A moment in milliseconds since 1970, as MLflow takes it; None is now."""
    return int((moment.timestamp() if moment else time.time()) * 1000)
