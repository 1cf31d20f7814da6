"""The playbook's two guides, filled from what a study measured: its comparison table and its decision list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dashboards.findings.pairs import ZERO_POINT, outcome
from dashboards.findings.playbook import DEEP, FAILS, HOLDS, MISSING, OPEN
from dashboards.findings.preferences import chosen_finalist, probed
from dashboards.findings.statistics import Sample, difference
from dashboards.findings.verdict import contenders
from dashboards.rows import Rows

WRONG_TASKS = "the study has another number of tasks"


def guide(rows: Rows) -> list[dict[str, Any]]:
    """The comparison table, one row per method; None where nothing was measured.

    `share` and `parameters`: parameter efficiency. `tasks_good`, `worst_task`: multi-task capability, the number of tasks
    on which the method's test mean is within epsilon of the best of that task, and its lowest score. `gain`, `pool_used`:
    flexibility, what it adds to head_only, and the share of its pool (`pool`: whether it has one) that rows take. `step_seconds`,
    `searched`: complexity, a training step of the solo probe and the number of hyperparameters that are searched.
    """
    tested = {c.method: c for c in contenders(rows)}
    by_task = {name: task_means(rows, name) for name in tested}
    best = {
        task["name"]: max((m[task["name"]] for m in by_task.values() if task["name"] in m), default=None)
        for task in rows["tasks"]
    }
    zero, table = tested.get(ZERO_POINT), []
    for method in rows["methods"]:
        name = method["method"]
        finalist, means = chosen_finalist(rows, name), by_task.get(name, {})
        deployed = finalist["deployed_parameters"] if finalist else None
        good = [task for task, mean in means.items() if mean >= (best[task] or 0.0) - rows["epsilon"]]
        usage = [(run.get("metrics") or {}).get("pool_used") for run in finalist["runs"]] if finalist else []
        used = [share for share in usage if share is not None]
        mine = tested.get(name)
        table.append(
            {
                "method": name,
                "parameters": deployed,
                "share": None if deployed is None else deployed / rows["backbone"]["parameters"],
                "tasks_good": len(good) if means else None,
                "tasks": len(rows["tasks"]),
                "worst_task": min(means.values(), default=None),
                "gain": mine.mean - zero.mean if mine and zero and mine is not zero else None,
                "pool": "pool_size" in finalist["config"] if finalist else None,
                "pool_used": float(np.mean(used)) if used else None,
                "step_seconds": probed(rows, name, "train_step_seconds"),
                "searched": len(method["space"]),
            }
        )
    return table


def decisions(rows: Rows) -> list[dict[str, Any]]:
    """The decision list, one entry per rule.

    Returns:
        `situation` and `advice` are the playbook's; `criterion` stands for it here; `measured` is the method that is best
        by it in this study, baselines apart, and `figure` says by how much. A score's `answer` needs a difference that is
        shown: between the advice and the best, or, where they are one, the second best. Parameters are counted.
    """
    several = len(rows["tasks"]) > 1
    prompts = [c for c in contenders(rows) if not _baseline(rows, c.method)]
    mean = {c.method: c.sample for c in prompts}
    deep = {name: sample for name, sample in mean.items() if name in DEEP}
    worst = {c.method: Sample(np.array(_worst(rows, c.method))) for c in prompts if _worst(rows, c.method)}
    epsilon = rows["epsilon"]
    return [
        _by_score(
            "several tasks, high flexibility", "multitask", "highest score on its worst task",
            worst if several else None, epsilon,
        ),
        _by_score(
            "several tasks, moderate flexibility", "prompt_pool", "highest mean score",
            mean if several else None, epsilon,
        ),
        _by_parameters(rows, {c.method: c.parameters for c in prompts}, mean, several),
        _by_score(
            "one task, prompts at every layer", "p_tuning_v2", "highest score of those",
            None if several else deep, epsilon,
        ),
        _by_score("parameters matter less", "prefix_tuning", "highest mean score", mean, epsilon),
    ]  # fmt: skip


def _by_score(
    situation: str, advice: str, criterion: str, samples: Mapping[str, Sample] | None, epsilon: float
) -> dict[str, Any]:
    """`samples`: test scores by method; None where the study has another number of tasks."""
    entry = {"situation": situation, "advice": advice, "criterion": criterion}
    if samples is None:
        return {**entry, "measured": None, "figure": WRONG_TASKS, "answer": MISSING}
    if advice not in samples or len(samples) < 2:
        missing = f"needs tested finalists of {advice} and another method"
        return {**entry, "measured": None, "figure": missing, "answer": MISSING}
    first, second = sorted(samples, key=lambda name: -float(samples[name].values.mean()))[:2]
    rival = second if first == advice else advice
    found = difference(samples[first], samples[rival])
    shown = outcome({**vars(found), "difference": found.mean, "p_holm": None}, epsilon) == "better"
    figure = ", ".join(f"{name} {samples[name].values.mean():.3f}" for name in (first, rival))
    if found.ci_low is not None:
        figure += (
            f": a difference of {found.mean:+.3f} (95 % interval {found.ci_low:+.3f} to {found.ci_high:+.3f})"
        )
    answer = OPEN if not shown else HOLDS if first == advice else FAILS
    return {**entry, "measured": first, "figure": figure, "answer": answer}


def _by_parameters(
    rows: Rows, prices: Mapping[str, float], samples: Mapping[str, Sample], several: bool
) -> dict[str, Any]:
    """The fewest parameters among the prompts whose test mean is within epsilon of the best prompt's."""
    advice = "p_tuning"
    entry = {
        "situation": "one task, few parameters",
        "advice": advice,
        "criterion": "fewest parameters within epsilon of the best prompt",
    }
    if several:
        return {**entry, "measured": None, "figure": WRONG_TASKS, "answer": MISSING}
    if advice not in samples or len(samples) < 2:
        missing = f"needs tested finalists of {advice} and another method"
        return {**entry, "measured": None, "figure": missing, "answer": MISSING}
    means = {name: float(sample.values.mean()) for name, sample in samples.items()}
    near = [name for name, mean in means.items() if mean >= max(means.values()) - rows["epsilon"]]
    first = min(near, key=lambda name: prices[name])
    figure = f"{first} {prices[first]:,.0f} parameters"
    figure += "" if first == advice else f", {advice} {prices[advice]:,.0f}"
    figure += "" if advice in near else ", which is not within epsilon"
    return {**entry, "measured": first, "figure": figure, "answer": HOLDS if first == advice else FAILS}


def task_means(rows: Rows, method: str) -> dict[str, float]:
    """Test score of each task, the mean over the seeds of the chosen finalist."""
    finalist = chosen_finalist(rows, method)
    runs = [run for run in finalist["runs"] if run["state"] == "COMPLETE"] if finalist else []
    found = {}
    for task in rows["tasks"]:
        scores = [(run["test_task_scores"] or {}).get(task["name"]) for run in runs]
        known = [score for score in scores if score is not None and math.isfinite(score)]
        if known and len(known) == len(runs):
            found[task["name"]] = float(np.mean(known))
    return found


def _worst(rows: Rows, method: str) -> list[float]:
    """For each seed of the chosen finalist, the test score of its worst task; empty where one is not known."""
    finalist = chosen_finalist(rows, method)
    found = []
    for run in finalist["runs"] if finalist else []:
        scores = [(run["test_task_scores"] or {}).get(task["name"]) for task in rows["tasks"]]
        known = [score for score in scores if score is not None and math.isfinite(score)]
        if not known or len(known) < len(scores):
            return []
        found.append(min(known))
    return found


def _baseline(rows: Rows, name: str) -> bool:
    return any(method["baseline"] for method in rows["methods"] if method["method"] == name)
