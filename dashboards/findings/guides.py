"""The Prompt Tuning Playbook's two guides, filled from a study."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dashboards.findings import words
from dashboards.findings.contest import Contender, Contest
from dashboards.findings.playbook import MISSING, Field, answers, fields, measured
from dashboards.findings.preferences import chosen_finalist, probed
from dashboards.rows import Rows, finite

BASELINE = "head_only"
"""The method that trains heads alone; what prompts add is the difference to it."""
WRONG_TASKS = "the study has another number of tasks"
RULES = (
    ("several tasks, high flexibility", "multitask", "highest score on its worst task"),
    ("several tasks, moderate flexibility", "prompt_pool", "highest mean score"),
    ("one task, few parameters", "p_tuning", "fewest parameters within epsilon of the best prompt"),
    ("one task, prompts at every layer", "p_tuning_v2", "highest score of those"),
    ("parameters matter less", "prefix_tuning", "highest mean score"),
)
"""The playbook's situations, its advice, and what stands for it here."""


def guide(found: Contest) -> list[dict[str, Any]]:
    """The comparison table, one row per method; None where nothing was measured.

    Parameter efficiency: `parameters`, `share`. Multi-task capability: `tasks_good`, the number of tasks on which the
    method's test mean is within epsilon of the best of that task, and `worst_task`, its lowest score. Flexibility: `gain` over
    head_only, `pool` (whether it has one), `pool_used` (the share of it that texts pick). Complexity: `step_seconds` of
    training, measured alone, and `searched`, the number of hyperparameters.
    """
    rows = found.rows
    tested = {c.method: c for c in (*found.contenders, *found.unlearned)}
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


def decisions(found: Contest) -> list[dict[str, Any]]:
    """The decision list, one entry per rule.

    Returns:
        `situation` and `advice` are the playbook's. `criterion` stands for it here, and `measured` is the method that is best
        by it in this study, by the means and baselines left out; `figure` says by how much. The `answer` needs more: that
        the advice is shown to be the best by the criterion, or not to be (playbook.answers).
    """
    compared, shown = fields(found), answers(found)
    table = []
    for situation, advice, criterion in RULES:
        entry = {"situation": situation, "advice": advice, "criterion": criterion, "measured": None}
        field, (said, p_value) = compared[advice], shown[advice]
        if field is None:
            entry |= {"figure": WRONG_TASKS, "answer": MISSING}
        elif said == MISSING:
            missing = f"needs tested finalists of {advice} and another method"
            entry |= {"figure": missing, "answer": MISSING}
        else:
            tell = _cheapest_near if advice == "p_tuning" else _highest
            name, figure = tell(found, field, advice)
            entry |= {"measured": name, "figure": figure + p_value, "answer": said}
        table.append(entry)
    return table


def _highest(found: Contest, field: Field, advice: str) -> tuple[str, str]:
    """The best by its mean, and the difference to the advice, or of the advice to the second best."""
    means = {name: float(field.joint.means[place]) for name, place in field.places.items()}
    first, second = sorted(means, key=lambda name: -means[name])[:2]
    rival = second if first == advice else advice
    estimate = field.joint.difference(field.places[first], field.places[rival])
    both = ", ".join(f"{name} {words.score(means[name], estimate.error)}" for name in (first, rival))
    return first, f"{both}: a difference of {measured(estimate)}"


def _cheapest_near(found: Contest, field: Field, advice: str) -> tuple[str, str]:
    """The cheapest whose mean is at most epsilon below the best, and its parameters."""
    prompts = [each for each in found.contenders if each.method in field.places]
    best = max(each.mean for each in prompts)
    near = [each for each in prompts if each.mean >= best - found.rows["epsilon"]]
    at_advice = next(each for each in prompts if each.method == advice)
    figure = _parameters(near[0])  # the cheapest comes first
    figure += "" if near[0].method == advice else f", {_parameters(at_advice)}"
    return near[0].method, figure + ("" if at_advice in near else ", which is not within epsilon")


def _parameters(contender: Contender) -> str:
    count = f"{contender.price:,.0f}" if math.isfinite(contender.price) else "unknown"
    return f"{contender.method} {count} parameters with heads"


def task_means(rows: Rows, method: str) -> dict[str, float]:
    """The test score of each task, the mean over seeds."""
    table = _task_scores(rows, method)
    return {
        task["name"]: float(np.mean(scores))
        for task, scores in zip(rows["tasks"], zip(*table, strict=True), strict=False)
        if all(finite(score) for score in scores)
    }


def _task_scores(rows: Rows, method: str) -> list[list[float | None]]:
    """[S, T] The test scores of the chosen finalist's finished runs."""
    finalist = chosen_finalist(rows, method)
    runs = [run for run in finalist["runs"] if run["state"] == "COMPLETE"] if finalist else []
    return [[(run["test_task_scores"] or {}).get(task["name"]) for task in rows["tasks"]] for run in runs]
