"""What the hyperparameters did, and what led to the best trial.

Per method, never pooled: the same name means different things in different methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards.findings.effort import ended
from dashboards.rows import Method, Rows, Trial, finite


def why(rows: Rows, method: Method) -> dict[str, Any]:
    """`importances` and `where` (as in the rows), `path`, `default_gain`."""
    name = method["method"]
    trials = [trial for trial in rows["trials"] if trial["method"] == name]
    return {
        "importances": method.get("importances"),
        "where": method.get("where") or {},
        "path": path(trials),
        "default_gain": default_gain(rows, name),
    }


def path(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Each trial better than all before, and what it changed.

    The first is the first complete one: the published default if that is trial 0.
    """
    steps: list[dict[str, Any]] = []
    before: Trial | None = None
    for trial in ended(trials):
        score = trial["validation"]
        if trial["state"] != "COMPLETE" or not finite(score):
            continue
        last = steps[-1]["validation"] if steps else None
        if last is not None and score <= last:
            continue
        steps.append(
            {
                "number": trial["number"],
                "validation": score,
                "gain": None if last is None else score - last,
                "changed": changed(before["config"], trial["config"]) if before else [],
            }
        )
        before = trial
    return steps


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """The hyperparameters whose values differ; None where one does not apply."""
    names = dict.fromkeys([*before, *after])
    return [
        {"parameter": name, "before": before.get(name), "after": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    ]


def default_gain(rows: Rows, method: str) -> float | None:
    """What the search gained over the default: validation, means over fresh seeds."""
    means: dict[str, float] = {}
    for finalist in rows["finalists"]:
        values = [run["validation"] for run in finalist["runs"] if run["state"] == "COMPLETE"]
        scores = [value for value in values if finite(value)]
        if finalist["method"] != method or not scores:
            continue
        if finalist["chosen"]:
            means["chosen"] = sum(scores) / len(scores)
        if finalist["role"] == "default" or finalist["number"] == 0:  # one that raced has another role
            means["default"] = sum(scores) / len(scores)
    return means["chosen"] - means["default"] if len(means) == 2 else None


def varied(trials: Sequence[Trial], method: Method) -> list[str]:
    """The hyperparameters that vary among complete trials, the most important first."""
    complete = [t for t in trials if t["state"] == "COMPLETE" and finite(t["validation"])]
    names = dict.fromkeys(name for trial in complete for name in trial["config"])
    weights = method.get("importances") or {}
    found = [n for n in names if len({repr(t["config"][n]) for t in complete if n in t["config"]}) > 1]
    return sorted(found, key=lambda name: -weights.get(name, 0.0))
