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


def preferences(found: Contest) -> list[dict[str, Any]]:
    """One entry per wish: `value`, `method`, `score`, `measure`, `figure`, `overall`, `note`.

    The choice is among the methods that learned and whose test mean is at most epsilon below the best; no interval is asked for.
    `overall` is the cheapest of all that learned, where it costs less. Of equal costs the better score is taken. The smallest is so
    with its heads; its figure is without, as elsewhere. `method` is None where nothing was measured, and `note` says why.
    """
    if not found.contenders:
        note = "no method learned anything" if found.unlearned else "no finalist was tested"
        empty = [("best score", "score"), ("smallest within epsilon", "deployed_parameters"), *WISHES]
        return [_entry(value, measure, None, None, note) for value, measure in empty]
    best = found.leader
    smallest = next(each for each in found.contenders if _good(each, found))  # the cheapest comes first
    finalist = chosen_finalist(found.rows, smallest.method)
    deployed = finalist["deployed_parameters"] if finalist else None
    entries = [
        _entry("best score", "score", best, best.mean),
        _entry("smallest within epsilon", "deployed_parameters", smallest, deployed),
    ]
    return entries + [_cheapest(found, value, measure) for value, measure in WISHES]


def _good(contender: Contender, found: Contest) -> bool:
    return contender.mean >= found.leader.mean - found.rows["epsilon"]


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


def _cheapest(found: Contest, value: str, measure: str) -> dict[str, Any]:
    """The cheapest by a cost that was measured alone."""
    where = devices(found.rows)
    if len(where) > 1:
        which = ", ".join(where)
        text = f"measured on different devices, which do not compare: {which}"
        return _entry(value, measure, None, None, text)
    known = [(each, probed(found.rows, each.method, measure)) for each in found.contenders]
    costs = {each.method: cost for each, cost in known if cost is not None}
    priced = [each for each in found.contenders if each.method in costs]
    priced.sort(key=lambda each: (costs[each.method], -each.mean))
    good = [each for each in priced if _good(each, found)]
    if not good:
        return _entry(value, measure, None, None, "no finalist good enough was measured alone")
    missing = [each.method for each, cost in known if cost is None]
    note = f"not measured alone: {', '.join(missing)}" if missing else None
    entry, first = _entry(value, measure, good[0], costs[good[0].method], note), priced[0]
    if costs[first.method] < costs[good[0].method]:
        entry["overall"] = {
            "method": first.method,
            "figure": costs[first.method],
            "score": first.mean,
            "loss": found.leader.mean - first.mean,
        }
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
