"""Charts of the search: its progress, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from dashboards.figures.svg import (
    SCREEN,
    Frame,
    Scale,
    both,
    bottom_axis,
    chart,
    element,
    left_axis,
    marker,
    method_class,
    polyline,
)
from dashboards.findings.effort import ended
from dashboards.rows import STATES, Trial, finite

Report = dict[str, Any]

LOWER = 110
"""Charts of progress are lower by so many pixels than other charts."""

Point = tuple[float, float]


def incumbent(report: Report, trials: Sequence[Trial], by_time: bool = False) -> Markup:
    """The best validation score so far, against trials or time."""
    lines: dict[str, list[Point]] = {}
    for method in report["methods"]:
        best, spent = -math.inf, 0.0
        own = [trial for trial in trials if trial["method"] == method["method"]]
        for count, trial in enumerate(ended(own), start=1):
            spent += trial["seconds"] or 0.0
            if trial["state"] == "COMPLETE" and trial["validation"] is not None:
                best = max(best, trial["validation"])
            if math.isfinite(best):
                lines.setdefault(method["method"], []).append((spent if by_time else count, best))
    if not by_time:
        return _progress(
            report, lines, "best validation so far", "ended trials of the method", 0.5, steps=True
        )
    longest = max((points[-1][0] for points in lines.values()), default=0.0)
    unit, size = (
        ("hours", 3600.0) if longest >= 7200 else ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)
    )
    lines = {name: [(place / size, value) for place, value in points] for name, points in lines.items()}
    return _progress(
        report, lines, "best validation so far", f"{unit} in the method's trials", 0.0, steps=True
    )


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
    values = [value for points in lines.values() for _, value in points]
    most = max((points[-1][0] for points in lines.values()), default=1)

    def draw(frame: Frame) -> Markup:
        bottom = frame.bottom - LOWER * frame.height // SCREEN.height
        y = Scale.around(values, bottom, frame.top)
        x = Scale(start, (most or 1) * 1.02 + start, frame.left, frame.right)
        parts = [left_axis(y, frame.left, frame.right, f"{label} ({report['objective']['metric']})")]
        parts.append(bottom_axis(x, bottom, below, whole=bool(start)))
        parts += [_line(name, points, order.index(name), x, y, steps) for name, points in lines.items()]
        return chart(frame.width, bottom + 44, f"{label} against {below}", *parts)

    return both(draw)


def _line(name: str, points: Sequence[Point], index: int, x: Scale, y: Scale, steps: bool) -> Markup:
    """The line of one method; `steps` keeps a value until the next."""
    places = [(x(points[0][0]), y(points[0][1]))]
    for place, value in points[1:]:
        places += [(x(place), places[-1][1])] if steps else []
        places.append((x(place), y(value)))
    last = marker(*places[-1], index, 4.5, "point", f"{name}: {points[-1][1]:.4g}")
    return polyline(places, f"curve strong {method_class(index)}", name) + last


def learning_curves(report: Report, trials: Sequence[Trial]) -> list[tuple[str, Markup]]:
    """(method, chart): validation against step; one scale for all."""
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
    """The curves of one method. The best is strong, stopped ones grey, failed ones dashed."""
    parts = []
    for trial, points in sorted(
        own, key=lambda pair: (pair[0]["number"] == best, pair[0]["state"] == "COMPLETE")
    ):
        strength = "strong" if trial["number"] == best else "weak"
        kind = {"COMPLETE": strength, "PRUNED": "stopped", "FAIL": "failed"}.get(trial["state"], "weak")
        title = f"{trial['method']} trial {trial['number']} ({STATES[trial['state']]}): {points[-1][1]:.4g} at step {points[-1][0]}"
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
    points = [(point["step"], point["validation"]) for point in trial.get("curve") or []]
    return [(step, value) for step, value in points if finite(value)]
