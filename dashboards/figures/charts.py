"""The charts of the report, each one inline SVG: progress of the search, learning curves.

Inputs are the report (what `report.build` returns) and the trials of the result rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from dashboards.figures.svg import (
    Scale,
    bottom_axis,
    chart,
    element,
    left_axis,
    marker,
    method_class,
    polyline,
)
from dashboards.findings.effort import ended
from dashboards.rows import Trial

Report = dict[str, Any]

WIDTH = 860
LEFT, RIGHT, TOP, BOTTOM = 56, 840, 34, 266

Point = tuple[float, float]


def incumbent(report: Report, trials: Sequence[Trial], hours: bool = False) -> Markup:
    """Best validation so far, one step line per method: against ended trials, or the hours spent in them."""
    lines: dict[str, list[Point]] = {}
    for method in report["methods"]:
        best, spent = -math.inf, 0.0
        own = [trial for trial in trials if trial["method"] == method["method"]]
        for count, trial in enumerate(ended(own), start=1):
            spent += (trial["seconds"] or 0.0) / 3600
            if trial["state"] == "COMPLETE" and trial["validation"] is not None:
                best = max(best, trial["validation"])
            if math.isfinite(best):
                lines.setdefault(method["method"], []).append((spent if hours else count, best))
    name = "hours in the method's trials" if hours else "trials of the method that ended"
    start = 0.0 if hours else 0.5
    return _progress(report, lines, "best validation so far", name, start, steps=True)


def expected(report: Report) -> Markup:
    """The best validation score to be expected of so many trials."""
    lines = {
        method["method"]: [(float(n), value) for n, value in enumerate(method["expected_best"], start=1)]
        for method in report["methods"]
        if method["expected_best"]
    }
    return _progress(report, lines, "expected best validation", "trials of the method", 0.5, steps=False)


def _progress(
    report: Report, lines: dict[str, list[Point]], label: str, below: str, start: float, steps: bool
) -> Markup:
    """A line per method that ends in the method's mark."""
    order = [method["method"] for method in report["methods"]]
    y = Scale.around([value for points in lines.values() for _, value in points], BOTTOM, TOP)
    most = max((points[-1][0] for points in lines.values()), default=1)
    x = Scale(start, (most or 1) * 1.02 + start, LEFT, RIGHT)
    parts = [left_axis(y, LEFT, RIGHT, f"{label} ({report['objective']['metric']})")]
    parts.append(bottom_axis(x, BOTTOM, below, whole=bool(start)))
    for name, points in lines.items():
        index = order.index(name)
        places = [(x(points[0][0]), y(points[0][1]))]
        for place, value in points[1:]:
            places += [(x(place), places[-1][1])] if steps else []
            places.append((x(place), y(value)))
        parts.append(polyline(places, f"curve strong {method_class(index)}", name))
        parts.append(marker(*places[-1], index, 4.5, "point", f"{name}: {points[-1][1]:.4f}"))
    return chart(WIDTH, 310, f"{label} against {below}", *parts)


def learning_curves(report: Report, trials: Sequence[Trial]) -> list[tuple[str, Markup]]:
    """(method, chart): validation against step of each trial; one scale for all, so that they compare."""
    curves = [(trial, _points(trial)) for trial in trials]
    curves = [(trial, points) for trial, points in curves if points]
    values = [value for _, points in curves for _, value in points]
    last = max((points[-1][0] for _, points in curves), default=1)
    found = []
    for index, method in enumerate(report["methods"]):
        own = [(trial, points) for trial, points in curves if trial["method"] == method["method"]]
        if own:
            y, x = Scale.around(values, 166, 30), Scale(0, last * 1.04, 44, 390)
            parts = [left_axis(y, 44, 390, "validation"), bottom_axis(x, 166, "step")]
            parts += _curves(own, method["best_trial"], index, x, y)
            found.append(
                (method["method"], chart(400, 206, f"Learning curves of {method['method']}", *parts))
            )
    return found


def _curves(
    own: Sequence[tuple[Trial, list[tuple[int, float]]]], best: int | None, index: int, x: Scale, y: Scale
) -> list[Markup]:
    """The best trial is drawn last and strong, stopped ones grey, failed ones dashed."""
    parts = []
    for trial, points in sorted(
        own, key=lambda pair: (pair[0]["number"] == best, pair[0]["state"] == "COMPLETE")
    ):
        strength = "strong" if trial["number"] == best else "weak"
        kind = {"COMPLETE": strength, "PRUNED": "stopped", "FAIL": "failed"}.get(trial["state"], "weak")
        title = f"{trial['method']} trial {trial['number']} ({trial['state']}): {points[-1][1]:.4f} at step {points[-1][0]}"
        place = [(x(step), y(value)) for step, value in points]
        parts.append(polyline(place, f"curve {kind} {method_class(index)}", title))
        dot = "strongdot" if kind == "strong" else "dot"
        parts.append(
            element(
                "circle",
                cx=place[-1][0],
                cy=place[-1][1],
                r=2.4,
                class_=f"{dot} {kind} {method_class(index)}",
            )
        )
    return parts


def _points(trial: Trial) -> list[tuple[int, float]]:
    points = [(p["step"], p["validation"]) for p in trial.get("curve") or [] if p["validation"] is not None]
    return [(step, value) for step, value in points if math.isfinite(value)]
