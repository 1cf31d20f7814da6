"""The Prompt Tuning Playbook's two guides, filled from a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dashboards.findings import samples, words
from dashboards.findings.contest import Contest
from dashboards.findings.playbook import CLAIMS, DEEP, FAILS, HOLDS, MISSING, OPEN, measured
from dashboards.findings.preferences import chosen_finalist, probed
from dashboards.rows import Rows, finite
from dashboards.statistics.joint import Joint
from dashboards.statistics.looks import ALPHA
from dashboards.statistics.sample import Sample
from dashboards.statistics.standing import standing

BASELINE = "head_only"
"""The method that trains heads alone; what prompts add is the difference to it."""
WRONG_TASKS = "the study has another number of tasks"


def guide(found: Contest) -> list[dict[str, Any]]:
    """The comparison table, one row per method; None where nothing was measured.

    Parameter efficiency: `parameters`, `share`. Multi-task capability: `tasks_good`, the number of tasks on which the
    method's test mean is within epsilon of the best of that task, and `worst_task`, its lowest score. Flexibility: `gain` over
    head_only, `pool` (whether it has one), `pool_used` (the share of it that texts pick). Complexity: `step_seconds` of
    training, measured alone, and `searched`, the number of hyperparameters.
    """
    rows = found.rows
    tested = {c.method: c for c in found.contenders}
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
        by it in this study, baselines left out; `figure` says by how much. The `answer` needs a difference that is shown,
        between the advice and the best or, where they are one, the second best; see playbook.py for the level.
    """
    rows, several = found.rows, len(found.rows["tasks"]) > 1
    prompts = [c for c in found.contenders if not _baseline(rows, c.method)]
    mean = {c.method: c.sample for c in prompts}
    deep = {name: sample for name, sample in mean.items() if name in DEEP}
    worst = {c.method: sample for c in prompts if (sample := _worst(rows, c.method)) is not None}
    return [
        _by_score(
            found, "several tasks, high flexibility", "multitask", "highest score on its worst task",
            worst if several else None,
        ),
        _by_score(
            found, "several tasks, moderate flexibility", "prompt_pool", "highest mean score",
            mean if several else None,
        ),
        _by_parameters(found, {c.method: c.price for c in prompts}, mean, several),
        _by_score(
            found, "one task, prompts at every layer", "p_tuning_v2", "highest score of those",
            None if several else deep,
        ),
        _by_score(found, "parameters matter less", "prefix_tuning", "highest mean score", mean),
    ]  # fmt: skip


def _by_score(
    found: Contest, situation: str, advice: str, criterion: str, given: Mapping[str, Sample] | None
) -> dict[str, Any]:
    """One rule about scores. `given` is None where the study has another number of tasks."""
    entry = {"situation": situation, "advice": advice, "criterion": criterion}
    if given is None:
        return {**entry, "measured": None, "figure": WRONG_TASKS, "answer": MISSING}
    if advice not in given or len(given) < 2:
        missing = f"needs tested finalists of {advice} and another method"
        return {**entry, "measured": None, "figure": missing, "answer": MISSING}
    names = sorted(given, key=lambda name: -given[name].mean)
    joint = Joint([given[name] for name in names], found.joint.search)
    rival = names[1] if names[0] == advice else advice
    # the best by the test was chosen by the test, so p is corrected over all pairs
    pair = standing(joint, ALPHA / CLAIMS).pair(0, names.index(rival))
    means = ", ".join(f"{name} {words.score(given[name].mean)}" for name in (names[0], rival))
    figure = f"{means}: a difference of {measured(joint.difference(0, names.index(rival)))}"
    said = OPEN if not pair.shown else HOLDS if names[0] == advice else FAILS
    return {**entry, "measured": names[0], "figure": figure, "answer": said}


def _by_parameters(
    found: Contest, prices: Mapping[str, float], given: Mapping[str, Sample], several: bool
) -> dict[str, Any]:
    """The smallest prompt at most epsilon below the best prompt, by their means; the answer is of their intervals."""
    advice, epsilon = "p_tuning", found.rows["epsilon"]
    entry = {
        "situation": "one task, few parameters",
        "advice": advice,
        "criterion": "fewest parameters within epsilon of the best prompt",
    }
    if several:
        return {**entry, "measured": None, "figure": WRONG_TASKS, "answer": MISSING}
    if advice not in given or len(given) < 2:
        missing = f"needs tested finalists of {advice} and another method"
        return {**entry, "measured": None, "figure": missing, "answer": MISSING}
    means = {name: sample.mean for name, sample in given.items()}
    best = max(means, key=lambda name: means[name])
    near = [name for name, mean in means.items() if mean >= means[best] - epsilon]
    first = min(near, key=lambda name: prices[name])
    figure = f"{first} {prices[first]:,.0f} parameters"
    figure += "" if first == advice else f", {advice} {prices[advice]:,.0f}"
    figure += "" if advice in near else ", which is not within epsilon"
    names = list(given)
    joint = Joint([given[name] for name in names], found.joint.search)
    said = _cheapest_within(joint, names, advice, prices, epsilon)
    return {**entry, "measured": first, "figure": figure, "answer": said}


def _cheapest_within(
    joint: Joint, names: list[str], advice: str, prices: Mapping[str, float], epsilon: float
) -> str:
    """Whether the advice is shown to be within epsilon of every other, and each cheaper one to be further below one.

    Tested over all pairs at the level of one claim.
    """
    place = {name: index for index, name in enumerate(names)}
    level = ALPHA / CLAIMS / max(len(names) * (len(names) - 1) / 2, 1)

    def lost(name: str, other: str) -> tuple[float, float] | None:
        return joint.difference(place[other], place[name]).interval(1 - level)

    losses = {(a, b): found for a in names for b in names if a != b and (found := lost(a, b)) is not None}
    if len(losses) < len(names) * (len(names) - 1) or joint.covers != "seeds and examples":
        return OPEN
    if any(losses[advice, other][0] > epsilon for other in names if other != advice):
        return FAILS
    within = all(losses[advice, other][1] <= epsilon for other in names if other != advice)
    cheaper = [name for name in names if prices[name] < prices[advice]]
    out = all(any(losses[name, other][0] > epsilon for other in names if other != name) for name in cheaper)
    return HOLDS if within and out else OPEN


def task_means(rows: Rows, method: str) -> dict[str, float]:
    """The test score of each task, the mean over seeds."""
    table = _task_scores(rows, method)
    return {
        task["name"]: float(np.mean(scores))
        for task, scores in zip(rows["tasks"], zip(*table, strict=True), strict=False)
        if all(finite(score) for score in scores)
    }


def _worst(rows: Rows, method: str) -> Sample | None:
    """The lowest task's test score with each seed; None where one is not known."""
    finalist = chosen_finalist(rows, method)
    return samples.worst_task(rows, finalist) if finalist else None


def _task_scores(rows: Rows, method: str) -> list[list[float | None]]:
    """[S, T] The test scores of the chosen finalist's finished runs."""
    finalist = chosen_finalist(rows, method)
    runs = [run for run in finalist["runs"] if run["state"] == "COMPLETE"] if finalist else []
    return [[(run["test_task_scores"] or {}).get(task["name"]) for task in rows["tasks"]] for run in runs]


def _baseline(rows: Rows, name: str) -> bool:
    return any(method["baseline"] for method in rows["methods"] if method["method"] == name)
