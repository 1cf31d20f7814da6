"""Was the search enough, and what failed?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dashboards.findings.stopping import checks
from dashboards.rows import Range, Rows, Trial, finite

EDGE = 0.05
"""A value is at the edge within this share of its range from a bound."""

ENOUGH_TRIALS = 4
"""With fewer, nothing can be said about more."""


def ended(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that ended, in the order in which they did."""
    done = [trial for trial in trials if trial["state"] in ("COMPLETE", "PRUNED", "FAIL")]
    return sorted(done, key=lambda trial: (trial["ended"] or "", trial["number"]))


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest validation; of equal ones the first."""
    scored = [t for t in trials if t["state"] == "COMPLETE" and finite(t["validation"])]
    return max(scored, key=lambda t: (t["validation"], -t["number"]), default=None)


def search_effort(rows: Rows) -> dict[str, Any]:
    """How many trials were stopped early, and the steps that saved.

    The steps a trial would have run are those of the study's settings, or the most that any trial ran where the rows
    lack them; shares are None without trials.
    """
    settings = rows.get("search")
    done = [trial for trial in rows["trials"] if trial["state"] in ("COMPLETE", "PRUNED")]
    steps = [max((point["step"] for point in trial.get("curve") or []), default=0) for trial in done]
    full = (settings["max_steps"] if settings else max(steps, default=0)) * len(done)
    pruned = sum(trial["state"] == "PRUNED" for trial in done)
    return {
        "ended": len(done),
        "stopped_early": pruned,
        "stopped_early_share": pruned / len(done) if done else None,
        "steps": sum(steps),
        "steps_saved": full - sum(steps),
        "steps_saved_share": 1 - sum(steps) / full if full else None,
        "seconds": sum(t["seconds"] or 0.0 for t in rows["trials"]) or None,
        "settings": dict(settings) if settings else None,
    }


def method_effort(trials: Sequence[Trial], space: dict[str, Range], epsilon: float) -> dict[str, Any]:
    """When a method's best trial came, and whether more are worth it."""
    best = best_trial(trials)
    numbers = [trial["number"] for trial in ended(trials)]
    expected = expected_best([score for trial in ended(trials) if (score := reached(trial)) is not None])
    gain = second_half_gain(expected)
    return {
        "seconds": sum(trial["seconds"] or 0.0 for trial in trials) or None,
        "expected_best": expected,
        "second_half_gain": gain,
        "more_trials": None if gain is None else gain >= epsilon and gain > 0,
        "rungs": checks(trials, best["number"] if best else None),
        "best_trial": best["number"] if best else None,
        "best_came_after": numbers.index(best["number"]) + 1 if best else None,
        "ended": len(numbers),
        "at_edge": edges(best["config"], space) if best else [],
    }


def reached(trial: Trial) -> float | None:
    """The validation score that a trial ended with, stopped early or not."""
    scores = [trial["validation"], *(p["validation"] for p in reversed(trial.get("curve") or []))]
    known = [score for score in scores if finite(score)]
    return known[0] if known and trial["state"] in ("COMPLETE", "PRUNED") else None


def expected_best(scores: Sequence[float]) -> list[float]:
    """The best validation score to be expected of 1, 2, ... N trials.

    E[max of n] = sum_i v_(i) ((i / N)^n - ((i - 1) / N)^n), v_(i) the i-th smallest of the N scores found: n draws from the
    empirical distribution. Dodge et al. (2019), "Show Your Work", https://arxiv.org/abs/1909.03004, eq. 1. It takes trials as
    independent draws, which a sampler that learns is not: of one it tells how rare good trials are.
    """
    ordered, total = sorted(scores), len(scores)
    return [
        sum(
            score * ((rank / total) ** n - ((rank - 1) / total) ** n)
            for rank, score in enumerate(ordered, start=1)
        )
        for n in range(1, total + 1)
    ]


def second_half_gain(expected: Sequence[float]) -> float | None:
    """What the second half of the trials adds. None for fewer than four."""
    total = len(expected)
    return expected[-1] - expected[(total + 1) // 2 - 1] if total >= ENOUGH_TRIALS else None


def edges(params: dict[str, Any], space: dict[str, Range]) -> list[dict[str, Any]]:
    """The values within 5 % of a bound of their range.

    The share is on the scale that was searched."""
    found = []
    for name, value in params.items():
        range_ = space.get(name)
        if range_ is None or range_["kind"] == "choice" or not isinstance(value, (int, float)):
            continue
        low, high, place = float(range_["low"]), float(range_["high"]), float(value)
        if range_.get("log") and low > 0 and place > 0:
            low, high, place = math.log(low), math.log(high), math.log(place)
        share = (place - low) / (high - low) if high > low else 0.5
        if not EDGE < share < 1 - EDGE:
            bound = "low" if share <= EDGE else "high"
            limit = range_["low"] if bound == "low" else range_["high"]
            found.append({"parameter": name, "value": value, "bound": bound, "limit": limit})
    return found


def failures(rows: Rows) -> list[dict[str, Any]]:
    """Failed trials and finalist runs by cause, the most frequent first."""
    groups: dict[str, dict[str, Any]] = {}
    for trial in rows["trials"]:
        if trial["state"] == "FAIL":
            _add(groups, trial["error"], trial["method"], f"{trial['method']} trial {trial['number']}")
    for finalist in rows["finalists"]:
        for run in finalist["runs"]:
            if run["state"] == "FAIL":
                where = f"{finalist['method']} finalist {finalist['number']}, seed {run['seed']}"
                _add(groups, run["error"], finalist["method"], where)
    return sorted(groups.values(), key=lambda group: -group["count"])


def _add(groups: dict[str, dict[str, Any]], error: str | None, method: str, where: str) -> None:
    cause = _cause(error)
    group = groups.setdefault(
        cause, {"cause": cause, "count": 0, "methods": [], "where": [], "example": error}
    )
    group["count"] += 1
    group["where"].append(where)
    if method not in group["methods"]:
        group["methods"].append(method)


def _cause(error: str | None) -> str:
    """The last line of a traceback, else the first line."""
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    if not lines:
        return "no cause was recorded"
    return (lines[-1] if lines[0].startswith("Traceback") else lines[0])[:300]
