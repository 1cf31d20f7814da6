"""What to take for the best score, few parameters, speed or memory.

Times and memory are those of finalists measured alone, never those of the search, where trials share the machine.
"""

from __future__ import annotations

from typing import Any

from dashboards.findings.contest import Contender, Contest
from dashboards.rows import Finalist, Rows, chosen, finite

WISHES = (
    ("fastest to train", "train_seconds"),
    ("fastest to serve", "latency_seconds"),
    ("least memory", "peak_memory_bytes"),
)
"""What a user may value, and the measured cost that tells it; less is better."""


def preferences(contest: Contest) -> list[dict[str, Any]]:
    """One entry per wish: `value`, `method`, `score`, `measure`, `figure`, `overall`, `note`.

    The choice is among the methods whose test mean is at most epsilon below the best; no interval is asked for. `overall` is
    the cheapest of all tested methods where that is another one. `method` is None where nothing was measured, and
    `note` says why.
    """
    rows, tested = contest.rows, list(contest.contenders)
    if not tested:
        empty = [("best score", "score"), ("smallest within epsilon", "deployed_parameters"), *WISHES]
        return [_entry(value, measure, None, None, note="no finalist was tested") for value, measure in empty]
    best = max(tested, key=lambda c: c.mean)
    smallest = next(c for c in tested if _good(c, best, rows))  # the cheapest comes first
    price = chosen_finalist(rows, smallest.method)
    deployed = price["deployed_parameters"] if price else None
    found = [
        _entry("best score", "score", best, best.mean),
        _entry("smallest within epsilon", "deployed_parameters", smallest, deployed),
    ]
    return found + [_cheapest(rows, tested, best, value, measure) for value, measure in WISHES]


def _good(contender: Contender, best: Contender, rows: Rows) -> bool:
    return contender.mean >= best.mean - rows["epsilon"]


def chosen_finalist(rows: Rows, method: str) -> Finalist | None:
    """The finalist of a method that was chosen for the test."""
    return chosen(f for f in rows["finalists"] if f["method"] == method)


def probed(rows: Rows, method: str, measure: str) -> float | None:
    """A cost of a method's chosen finalist, measured alone."""
    finalist = chosen_finalist(rows, method)
    probe: dict[str, Any] = dict((finalist.get("probe") if finalist else None) or {})
    found: float | None = probe.get(measure)
    return found if finite(found) else None


def devices(rows: Rows) -> list[str]:
    """The devices on which finalists were measured alone."""
    probes: list[dict[str, Any]] = [
        dict(finalist.get("probe") or {}) for finalist in rows["finalists"] if finalist["chosen"]
    ]
    return sorted({str(probe["device"]) for probe in probes if probe.get("device")})


def _cheapest(
    rows: Rows, tested: list[Contender], best: Contender, value: str, measure: str
) -> dict[str, Any]:
    """The cheapest by a cost that was measured alone."""
    costs = {c.method: cost for c in tested if (cost := probed(rows, c.method, measure)) is not None}
    where = devices(rows)
    if len(where) > 1:
        note = f"measured on different devices, which do not compare: {', '.join(where)}"
        return _entry(value, measure, None, None, note=note)
    priced = sorted((c for c in tested if c.method in costs), key=lambda c: costs[c.method])
    good = [c for c in priced if _good(c, best, rows)]
    if not good:
        return _entry(value, measure, None, None, note="no finalist good enough was measured alone")
    entry = _entry(value, measure, good[0], costs[good[0].method])
    if priced[0] is not good[0]:
        first = priced[0]
        entry["overall"] = {
            "method": first.method,
            "figure": costs[first.method],
            "score": first.mean,
            "loss": best.mean - first.mean,
        }
    missing = [c.method for c in tested if c.method not in costs]
    entry["note"] = f"not measured alone: {', '.join(missing)}" if missing else None
    return entry


def _entry(
    value: str, measure: str, contender: Contender | None, figure: float | None, note: str | None = None
) -> dict[str, Any]:
    return {
        "value": value,
        "method": contender.method if contender else None,
        "score": contender.mean if contender else None,
        "measure": measure,
        "figure": figure,
        "overall": None,
        "note": note,
    }
