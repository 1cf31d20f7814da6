"""What a trial's run in MLflow holds: parameters, tags, curves against steps, costs and scores."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

from mlflow.entities import Metric, Param

from search.job import COSTS, COUNTS
from search.storage.trials import FrozenTrial
from search.study.records import Key, curve, known_of, loss_weights


def params(key: Key, trial: FrozenTrial) -> list[Param]:
    """Method, seed, the hyperparameters that apply, and the weights of the losses."""
    facts = trial.user_attrs
    params = {"method": key.method, "seed": facts["seed"], **facts["config"], **loss_weights(facts)}
    return [Param(name, str(value)) for name, value in params.items()]


def origin(key: Key, facts: dict[str, Any]) -> dict[str, str]:
    """Tags of a finalist: the search trial whose configuration it retrains, why, and with which of the seeds."""
    if key.stage == "search":
        return {}
    return {
        "promptfront.from": str(Key(key.method, "search", facts["from"])),
        "promptfront.role": facts["role"],
        "promptfront.seed_index": str(facts["seed_index"]),
    }


def points(steps: dict[int, dict[str, Any]]) -> list[Metric]:
    """Evaluations by their step, as `records.curve` gives them."""
    now = int(time.time() * 1000)
    found = []
    for step, evaluation in steps.items():
        values = {"validation": evaluation["validation"], "loss": evaluation["loss"]}
        values |= _by_task("validation", evaluation["task_scores"])
        values |= {metric_name(name): value for name, value in evaluation["metrics"].items()}
        found += [Metric(name, value, now, step) for name, value in values.items() if value is not None]
    return found


def final(trial: FrozenTrial, backbone_parameters: int | None, best: str) -> list[Metric]:
    """Costs, and the best score with its step, under `best` too."""
    facts, now = known_of(trial), milliseconds(trial.datetime_complete)
    final = {name: facts.get(name) for name in (*COUNTS, *COSTS)}
    if backbone_parameters and final["deployed_parameters"] is not None:
        final["backbone_share"] = final["deployed_parameters"] / backbone_parameters
    metrics = [Metric(name, float(value), now, 0) for name, value in final.items() if value is not None]
    scores = {step: evaluation["validation"] for step, evaluation in curve(trial).items()}
    if scores:
        step = max(scores, key=lambda step: scores[step])
        metrics += [Metric(name, scores[step], now, step) for name in ("best_validation", best)]
    return metrics


def tested(reading: dict[str, Any]) -> list[Metric]:
    """The scores of a reading of the test split."""
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
    """Each task's score, and of several tasks the worst."""
    worst = {f"{split}_worst": min(scores.values())} if len(scores) > 1 else {}
    return {**{f"{split}_{task}": score for task, score in scores.items()}, **worst}


def metric_name(metric: str) -> str:
    """A name that MLflow takes: labels from the data may have any characters."""
    return re.sub(r"[^\w ./-]", "_", metric)[:250]


def milliseconds(moment: datetime | None) -> int:
    """A moment as MLflow counts it, since 1970; without one, now."""
    return int((moment.timestamp() if moment else time.time()) * 1000)
