"""A study as result rows: plain values, all that the report is made of (dashboards/rows.py has their form)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

import methods
from search.config.spaces import LOSS_WEIGHT
from search.seeds import derive
from search.study import finalists
from search.study.study import Key, Study, evaluations, known_of, loss_weights
from search.training import probe, test_scores

Row = dict[str, Any]

ENOUGH_TRIALS = 8
"""With fewer complete trials, importances would be made of noise."""


def study_rows(study: Study, outcome: str, provenance: Row) -> Row:
    """Everything known of a study.

    Args:
        study: at any moment of its life.
        outcome: "done", "interrupted", "budget ended" or "running".
        provenance: as `search.results.provenance.collect` gave it, with `backbone` and `tasks` beside.
    """
    config = study.config
    runs = study.late_facts("mlflow_run_id")
    return {
        "study": config.study,
        "partial": outcome != "done",
        "outcome": outcome,
        "epsilon": config.finalists.epsilon,
        "objective": {"metric": metric(study), "direction": "maximize"},
        "backbone": provenance["backbone"],
        "tasks": provenance["tasks"],
        "search": _search(study),
        "methods": [_method(study, method) for method in config.methods],
        "trials": [
            _trial(key, trial, runs.get(key)) for key, trial in study.trials() if key.stage == "search"
        ],
        "finalists": [row for method in config.methods for row in _finalists(study, method, runs)],
        "test_readings": study.test_readings,
        "provenance": {
            name: value for name, value in provenance.items() if name not in ("backbone", "tasks")
        },
    }


def write_curves(study: Study) -> None:
    """Writes every evaluation of every trial to `curves.parquet`, one row each."""
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
        for step, evaluation in evaluations(trial).items()
    ]
    if table:
        pd.DataFrame(table).to_parquet(study.config.folder / "curves.parquet")


def metric(study: Study) -> str:
    """Name of what is optimized."""
    metrics, objective = {task.metric for task in study.config.tasks}, study.config.search.objective
    if len(metrics) == 1 and (len(study.config.tasks) == 1 or objective == "mean"):
        return metrics.pop()
    return f"{objective} score"


def _search(study: Study) -> Row:
    search, training = study.config.search, study.config.training
    return {
        **{name: getattr(search, name) for name in ("sampler", "early_stopping", "eta", "trials_per_method")},
        **{name: getattr(search, name) for name in ("allocation", "measured_costs")},
        **{name: getattr(training, name) for name in ("max_steps", "eval_steps")},
    }


def importances(trials: Sequence[FrozenTrial], seed: int) -> dict[str, float] | None:
    """Each hyperparameter's share of the variance of the validation score, the largest first.

    Hutter et al. (2014), "An Efficient Approach for Assessing Hyperparameter Importance" (fANOVA), over the complete
    trials of one method. Of one that applies to some trials only, its share among those.

    Returns:
        None where fewer than `ENOUGH_TRIALS` are complete, or where no hyperparameter or no score varies.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    applying = {
        name: [trial for trial in complete if _applies(trial, name)]
        for name in dict.fromkeys(name for trial in complete for name in trial.params)
    }
    found = _shares(complete, [name for name in applying if len(applying[name]) == len(complete)], seed)
    for name, own in applying.items():
        if len(own) < len(complete):
            beside = [other for other in applying if all(_applies(trial, other) for trial in own)]
            found |= {key: share for key, share in _shares(own, beside, seed).items() if key == name}
    return dict(sorted(found.items(), key=lambda item: -item[1])) or None


def _applies(trial: FrozenTrial, name: str) -> bool:
    """Whether something sampled has an effect on the trial."""
    return name.startswith(LOSS_WEIGHT) or name in trial.user_attrs["config"]


def _shares(complete: Sequence[FrozenTrial], names: Sequence[str], seed: int) -> dict[str, float]:
    """fANOVA over trials to which all the names apply; empty where it would say nothing."""
    varied = {name for name in names if len({repr(trial.params[name]) for trial in complete}) > 1}
    if len(complete) < ENOUGH_TRIALS or not varied or len({trial.values[0] for trial in complete}) < 2:
        return {}
    table = optuna.create_study(direction="maximize")
    for trial in complete:
        table.add_trial(
            optuna.trial.create_trial(
                params={name: trial.params[name] for name in names},
                distributions={name: trial.distributions[name] for name in names},
                value=trial.values[0],
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return optuna.importance.get_param_importances(table, evaluator=evaluator, params=sorted(varied))


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


def _trial(key: Key, trial: FrozenTrial, run_id: str | None) -> Row:
    curve = evaluations(trial)
    facts = known_of(trial)
    last = curve[max(curve)] if curve else None
    return {
        "number": key.number,
        "method": key.method,
        "state": trial.state.name,
        "params": {**facts["config"], **loss_weights(facts)} if "config" in facts else trial.params,
        "seed": facts.get("seed"),
        "validation": last["validation"] if last else None,
        "task_scores": last["task_scores"] if last else {},
        "metrics": last["metrics"] if last else {},
        **{
            name: facts.get(name)
            for name in (*_COUNTS, "step_seconds", "peak_memory_bytes", "latency_seconds")
        },
        "seconds": last["seconds"] if last else None,
        "started": _time(trial.datetime_start),
        "ended": _time(trial.datetime_complete),
        "error": facts.get("error"),
        "origin": facts.get("origin"),
        "unmeasured": facts.get("unmeasured", []),
        "checkpoint": last["checkpoint"] if last else None,
        "mlflow_run_id": run_id,
        "curve": [
            {"step": step, **{name: value[name] for name in ("loss", "validation", "seconds")}}
            for step, value in curve.items()
        ],
    }


_COUNTS = ("trained_parameters", "deployed_parameters", "head_parameters")


def _finalists(study: Study, method: str, run_ids: dict[Key, str]) -> list[Row]:
    roles = finalists.promoted(study, method)
    chosen = finalists.choose(study, method)
    search = study.of(method, "search")
    tests = study.late_facts(test_scores.TEST)
    probed = probe.probed(study, method)
    found = []
    for number, retrained in finalists.runs(study, method).items():
        facts = search[number].user_attrs
        found.append(
            {
                "method": method,
                "config": {**facts["config"], **loss_weights(facts)},
                "number": number,
                "role": roles[number],
                "chosen": number == chosen,
                **{name: facts.get(name) for name in _COUNTS},
                "probe": study.late(probed, probe.PROBE) if probed and number == chosen else None,
                "runs": [
                    _run(study, Key(method, "finalists", trial.number), trial, tests, run_ids)
                    for trial in retrained
                ],
            }
        )
    return found


def _run(study: Study, key: Key, trial: FrozenTrial, tests: dict[Key, Row], run_ids: dict[Key, str]) -> Row:
    row = _trial(key, trial, run_ids.get(key))
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
    )
    return {
        **{name: row[name] for name in kept},
        "number": key.number,
        "test": test["test"] if test else None,
        "test_task_scores": test["task_scores"] if test else {},
        "test_metrics": test["metrics"] if test else {},
        "examples": _examples(study, key) if test else None,
    }


def _examples(study: Study, key: Key) -> dict[str, list[float]] | None:
    """Each test example's score by task; None where the score is no mean over examples, or the file is gone."""
    path = test_scores.predictions_path(study.config, key)
    several = len(study.config.tasks) > 1
    if (several and study.config.search.objective == "worst") or not path.exists():
        return None
    table = pd.read_parquet(path, columns=["task", "row", "score"])
    if table["score"].isna().any():
        return None
    ordered = table.sort_values(["task", "row"])
    return {str(task): list(group["score"]) for task, group in ordered.groupby("task")}


def _time(value: datetime | None) -> str | None:
    """Optuna keeps local times without a zone; results have UTC."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds")


def best(study: Study, method: str) -> float | None:
    """The best validation score of a method's completed search trials."""
    scores = [t.values[0] for t in study.of(method, "search") if t.state == TrialState.COMPLETE]
    return max(scores, default=None)
