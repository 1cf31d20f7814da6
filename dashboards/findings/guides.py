"""The Prompt Tuning Playbook's two guides, filled from a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dashboards.findings import words
from dashboards.findings.pairs import BASELINE, outcome
from dashboards.findings.playbook import DEEP, FAILS, HOLDS, MISSING, OPEN
from dashboards.findings.preferences import chosen_finalist, probed
from dashboards.findings.statistics import Sample, difference
from dashboards.findings.verdict import contenders
from dashboards.rows import Rows, finite

WRONG_TASKS = "the study has another number of tasks"


def guide(rows: Rows) -> list[dict[str, Any]]:
    """The comparison table, one row per method; None where nothing was measured.

    Parameter efficiency: `parameters`, `share`. Multi-task capability: `tasks_good`, the number of tasks on which the
    method's test mean is within epsilon of the best of that task, and `worst_task`, its lowest score. Flexibility: `gain` over
    head_only, `pool` (whether it has one), `pool_used` (the share of it that texts pick). Complexity: `step_seconds` of
    training, measured alone, and `searched`, the number of hyperparameters.
    """
    tested = {c.method: c for c in contenders(rows)}
    by_task = {name: task_means(rows, name) for name in tested}
    best = {
        task["name"]: max((m[task["name"]] for m in by_task.values() if task["name"] in m), default=None)
        for task in rows["tasks"]
    }
    baseline, table = tested.get(BASELINE), []
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
                "gain": mine.mean - baseline.mean if mine and baseline and mine is not baseline else None,
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
        `situation` and `advice` are the playbook's. `criterion` stands for it here, and `measured` is the method that is best
        by it in this study, baselines left out; `figure` says by how much. Where the criterion is a score, the `answer`
        needs a difference that is shown: between the advice and the best, or, where they are one, the second best.
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
    """One rule about scores. `samples` is None where the study has another number of tasks."""
    entry = {"situation": situation, "advice": advice, "criterion": criterion}
    if samples is None:
        return {**entry, "measured": None, "figure": WRONG_TASKS, "answer": MISSING}
    if advice not in samples or len(samples) < 2:
        missing = f"needs tested finalists of {advice} and another method"
        return {**entry, "measured": None, "figure": missing, "answer": MISSING}
    first, second = sorted(samples, key=lambda name: -float(samples[name].values.mean()))[:2]
    rival = second if first == advice else advice
    found = difference(samples[first], samples[rival])
    row = {**vars(found), "difference": found.mean, "p_holm": None}
    shown = outcome(row, epsilon) == "better"
    means = ", ".join(f"{name} {samples[name].values.mean():.3f}" for name in (first, rival))
    figure = f"{means}: a difference of {words.difference(row)}"
    answer = OPEN if not shown else HOLDS if first == advice else FAILS
    return {**entry, "measured": first, "figure": figure, "answer": answer}


def _by_parameters(
    rows: Rows, prices: Mapping[str, float], samples: Mapping[str, Sample], several: bool
) -> dict[str, Any]:
    """The smallest prompt at most epsilon below the best prompt."""
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
    """The test score of each task, the mean over seeds."""
    table = _task_scores(rows, method)
    return {
        task["name"]: float(np.mean(scores))
        for task, scores in zip(rows["tasks"], zip(*table, strict=True), strict=False)
        if all(finite(score) for score in scores)
    }


def _worst(rows: Rows, method: str) -> list[float]:
    """The lowest task's test score with each seed. Empty where one is not known."""
    table = _task_scores(rows, method)
    worst = [
        min(known)
        for scores in table
        if (known := [s for s in scores if finite(s)]) and len(known) == len(scores)
    ]
    return worst if len(worst) == len(table) else []


def _task_scores(rows: Rows, method: str) -> list[list[float | None]]:
    """[S, T] The test scores of the chosen finalist's finished runs."""
    finalist = chosen_finalist(rows, method)
    runs = [run for run in finalist["runs"] if run["state"] == "COMPLETE"] if finalist else []
    return [[(run["test_task_scores"] or {}).get(task["name"]) for task in rows["tasks"]] for run in runs]


def _baseline(rows: Rows, name: str) -> bool:
    return any(method["baseline"] for method in rows["methods"] if method["method"] == name)
