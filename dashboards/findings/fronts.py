"""Pareto fronts: score against each cost, and the best trade-off on each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.rows import Rows, finite


@dataclass(frozen=True)
class Axis:
    """A cost of trials, or of finalists alone.

    Trials are scored on validation, finalists on test.
    """

    name: str
    label: str
    key: str
    of_trials: bool


AXES = (
    Axis("deployed parameters", "deployed parameters (heads not counted)", "deployed_parameters", True),
    Axis("trained parameters", "trained parameters (heads not counted)", "trained_parameters", True),
    Axis("training time", "seconds of training, measured alone", "train_seconds", False),
    Axis("memory", "peak bytes of training, measured alone", "peak_memory_bytes", False),
    Axis("latency", "seconds to answer one row, measured alone", "latency_seconds", False),
    Axis("size", "bytes on disk, heads included", "bytes", False),
)
"""The first is the one that the verdict counts."""

Point = dict[str, Any]


def fronts(rows: Rows, methods: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The front of each cost: `axis`, `cost`, `scored`, `front`, `knee`.

    `scored` is validation or test; `front` goes from cheap to expensive; `knee` is its best trade-off. A point has
    `method`, `number` (of the search trial), `cost` and `score`.

    Args:
        rows: of the study.
        methods: the report's entries.
    """
    found = []
    for axis in AXES:
        points = of_trials(rows["trials"], axis.key) if axis.of_trials else tested(methods, axis.key)
        best = front(points)
        found.append(
            {
                "axis": axis.name,
                "cost": axis.key,
                "scored": "validation" if axis.of_trials else "test",
                "front": best,
                "knee": knee(best),
            }
        )
    return found


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats, cheapest first. Of equal ones the first."""
    best, found = -math.inf, []
    for point in sorted(points, key=lambda p: (p["cost"], -p["score"])):
        if point["score"] > best:
            found.append(point)
            best = point["score"]
    return found


def knee(points: Sequence[Point]) -> Point | None:
    """The best trade-off of a front: beyond it, more cost buys little.

    It is the point farthest above the line from the cheapest to the best, costs on a log scale:
    Satopaa et al. (2011), "Finding a 'Kneedle' in a Haystack". None for fewer than three points.
    """
    if len(points) < 3:
        return None
    places, scores = log_costs([p["cost"] for p in points]), [p["score"] for p in points]
    width, height = places[-1] - places[0], scores[-1] - scores[0]
    above = [
        (score - scores[0]) / height - (place - places[0]) / width
        for place, score in zip(places, scores, strict=True)
    ]
    index = max(range(len(points)), key=lambda i: above[i])
    return points[index] if above[index] > 0 else None


def log_costs(costs: Sequence[float]) -> list[float]:
    """log10 of costs; 0 stands a decade below the cheapest other."""
    floor = min((math.log10(cost) for cost in costs if cost > 0), default=1.0) - 1
    return [math.log10(cost) if cost > 0 else floor for cost in costs]


def tested(methods: Sequence[dict[str, Any]], key: str) -> list[Point]:
    """The tested finalists with this cost, measured or counted."""
    points = []
    for method in methods:
        for finalist in method["finalists"]:
            cost = finalist.get(key)
            cost = (finalist["probe"] or {}).get(key) if cost is None else cost
            if finalist["test"] and finite(cost):
                point = {"number": finalist["number"], "cost": cost, "score": finalist["test"]["mean"]}
                points.append({"method": method["method"], **point})
    return points


def of_trials(trials: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    """The complete trials with this cost."""
    points = []
    for trial in trials:
        cost, score = trial.get(key), trial["validation"]
        if trial["state"] == "COMPLETE" and finite(cost) and finite(score):
            points.append(
                {"method": trial["method"], "number": trial["number"], "cost": cost, "score": score}
            )
    return points
