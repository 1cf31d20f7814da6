"""Turns a study into result rows: the plain values from which the report is made (see dashboards/rows.py)."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pandas as pd

import methods
from search.job import COSTS, COUNTS
from search.metrics.ranges import score_range
from search.results import scored
from search.seeds import derive
from search.storage.trials import FrozenTrial
from search.strategy.importances import importances
from search.study import extra_seeds, finalists, race
from search.study.readings import curve, known_of, loss_weights
from search.study.records import Key
from search.study.study import Study, best_trial, metric

Row = dict[str, Any]


def study_rows(study: Study, outcome: str, provenance: Row) -> Row:
    """Collects everything that is known about a study.

    Args:
        study: the study, in any state.
        outcome: "done", "interrupted", "budget ended" or "nothing feasible".
        provenance: the result of `search.results.provenance.collect`, with `backbone` and `tasks` added.
    """
    config = study.config
    runs = study.facts_of_trials("mlflow_run_id")
    best = {  # the only ended search trials whose checkpoints are kept
        Key(method, "search", found.number)
        for method in config.methods
        if (found := best_trial(study, method)) is not None
    }
    return {
        "study": config.study,
        "partial": outcome != "done",
        "outcome": outcome,
        "epsilon": config.finalists.epsilon,
        "objective": {
            "metric": metric(study),
            "direction": "maximize",
            "over_tasks": config.search.objective,
            "range": score_range(task.metric for task in config.tasks),
        },
        "backbone": provenance["backbone"],
        "tasks": provenance["tasks"],
        "search": _search(study),
        "methods": [_method(study, method) for method in config.methods],
        "trials": [
            _trial(key, trial, runs.get(key), not trial.state.is_finished() or key in best)
            for key, trial in study.trials()
            if key.stage == "search" and not study.replaced(key)
        ],
        "finalists": _finalists(study, runs),
        "test_readings": study.test_readings,
        "seeds": {
            "num_seeds": config.finalists.num_seeds,
            "max_seeds": config.finalists.most_seeds,
            "looks": list(extra_seeds.looks_of(study)),
        },
        **scored.of_study(study),
        "provenance": {
            name: value for name, value in provenance.items() if name not in ("backbone", "tasks")
        },
    }


def write_curves(study: Study) -> None:
    """Writes every evaluation of every trial to `curves.parquet`, one row per evaluation."""
    table = [
        {
            "method": key.method,
            "stage": key.stage,
            "number": key.number,
            "step": step,
            "validation": evaluation["validation"],
            "loss": evaluation["loss"],
            "seconds": evaluation["seconds"],
            "task_scores": json.dumps(evaluation["task_scores"]),
            "metrics": json.dumps(evaluation["metrics"]),
        }
        for key, trial in study.trials()
        for step, evaluation in curve(trial).items()
    ]
    if table:
        pd.DataFrame(table).to_parquet(study.config.folder / "curves.parquet")


def _search(study: Study) -> Row:
    search, training = study.config.search, study.config.training
    return {
        **{name: getattr(search, name) for name in ("sampler", "early_stopping", "eta", "trials_per_method")},
        **{name: getattr(search, name) for name in ("allocation", "measured_costs")},
        **{name: getattr(training, name) for name in ("max_steps", "eval_steps")},
    }


def _method(study: Study, method: str) -> Row:
    module = methods.get(method)
    return {
        "method": method,
        "title": module.Method.title,
        "baseline": module.Method.baseline,
        "budget": study.config.search.trials_per_method,
        "ended_early": study.ended_early(method),
        "importances": importances(
            study.of(method, "search"), derive(study.config.seed, method, "importance")
        ),
        "where": {
            name: where
            for name in study.spaces[method].ranges
            if (where := module.Config.fields()[name].metadata["where"])
        },
        "space": {
            name: {"kind": type(allowed).__name__.lower(), **asdict(allowed)}
            for name, allowed in study.spaces[method].ranges.items()
        },
    }


def _trial(key: Key, trial: FrozenTrial, run_id: str | None, kept: bool) -> Row:
    """A row of `trials`, or what runs of finalists share with one; `kept`: whether its checkpoint is still there."""
    points = curve(trial)
    facts = known_of(trial)
    last = points[max(points)] if points else None
    return {
        "number": key.number,
        "method": key.method,
        "state": trial.state.name,
        "config": {**facts["config"], **loss_weights(facts)} if "config" in facts else trial.params,
        "seed": facts.get("seed"),
        "validation": last["validation"] if last else None,
        "task_scores": last["task_scores"] if last else {},
        "metrics": last["metrics"] if last else {},
        **{name: facts.get(name) for name in (*COUNTS, *COSTS)},
        "started": _time(trial.datetime_start),
        "ended": _time(trial.datetime_complete),
        "error": facts.get("error"),
        "origin": facts.get("origin"),
        "unmeasured": facts.get("unmeasured", []),
        "checkpoint": last["checkpoint"] if last and kept else None,
        "mlflow_run_id": run_id,
        "curve": [
            {"step": step, **{name: value[name] for name in ("loss", "validation", "seconds")}}
            for step, value in points.items()
        ],
    }


def _finalists(study: Study, run_ids: dict[Key, str]) -> list[Row]:
    tests = study.facts_of_trials(finalists.TEST)
    counts = extra_seeds.reported_seeds(study)
    found = []
    for method in study.config.methods:
        roles = race.promoted(study, method)
        chosen = race.choose(study, method)
        search = study.of(method, "search")
        probed = finalists.probed(study, method)
        for number, retrained in finalists.runs(study, method).items():
            facts = search[number].user_attrs
            found.append(
                {
                    "method": method,
                    "config": {**facts["config"], **loss_weights(facts)},
                    "number": number,
                    "role": roles[number],
                    "chosen": number == chosen,
                    **{name: facts.get(name) for name in COUNTS},
                    "probe": study.fact_of_trial(probed, finalists.PROBE)
                    if probed and number == chosen
                    else None,
                    "runs": [
                        _run(study, Key(method, "finalists", trial.number), trial, tests, run_ids)
                        for trial in retrained
                        if trial.user_attrs["seed_index"] < counts[method]
                    ],
                }
            )
    return found


def _run(study: Study, key: Key, trial: FrozenTrial, tests: dict[Key, Row], run_ids: dict[Key, str]) -> Row:
    row = _trial(key, trial, run_ids.get(key), kept=True)
    test = tests.get(key)
    kept = (
        "seed",
        "state",
        "error",
        "validation",
        "task_scores",
        "metrics",
        "seconds",
        "mlflow_run_id",
        "checkpoint",
        "curve",
    )
    return {
        **{name: row[name] for name in kept},
        "number": key.number,
        "test": test["test"] if test else None,
        "test_task_scores": test["task_scores"] if test else {},
        "test_metrics": test["metrics"] if test else {},
        "examples": scored.examples(study, key) if test else None,
    }


def _time(value: datetime | None) -> str | None:
    """Converts a time to UTC; Optuna keeps local times without a time zone."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds")
