"""The charts of the report, each one inline SVG: Pareto front, incumbent, learning curves.

Inputs are the report (what `report.build` returns) and the trials of the result rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from dashboards.rows import Trial
from dashboards.svg import (
    Scale,
    bottom_axis,
    chart,
    element,
    left_axis,
    line,
    marker,
    method_class,
    polyline,
    text,
    tick_label,
)

Report = dict[str, Any]

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 56, 840, 34, 376


def pareto(report: Report) -> Markup:
    """Validation of every complete trial against deployed parameters, and the finalists' test scores.

    Dominated trials are grey, the front is a step line, the band is epsilon under the best test mean.
    """
    order = [method["method"] for method in report["methods"]]
    trials = [t for t in report["trials"] if _plottable(t)]
    tested = [(m, f) for m in report["methods"] for f in m["finalists"] if f["test"]]
    scores = [t["validation"] for t in trials]
    for _, finalist in tested:
        test = finalist["test"]
        scores += [test["mean"], *(x for x in (test["ci_low"], test["ci_high"]) if x is not None)]
    costs = [t["deployed_parameters"] for t in trials]
    costs += [f["deployed_parameters"] for _, f in tested if f["deployed_parameters"] is not None]
    y = Scale.around(scores, BOTTOM, TOP)
    x, axis = _cost_axis(costs)
    front = {(point["method"], point["number"]) for point in report["pareto_front"]}

    parts = [
        _epsilon_band(tested, report["epsilon"], y),
        left_axis(y, LEFT, RIGHT, _score_name(report)),
        axis,
    ]
    parts.append(_front_line(trials, front, x, y))
    # The front is drawn last, over the points that it dominates.
    for trial in sorted(trials, key=lambda t: (t["method"], t["number"]) in front):
        on_front = (trial["method"], trial["number"]) in front
        title = (
            f"{trial['method']} trial {trial['number']}\nvalidation {trial['validation']:.4f}\n"
            f"{trial['deployed_parameters']:,} deployed parameters{'' if on_front else ' (dominated)'}"
        )
        place = x(trial["deployed_parameters"]), y(trial["validation"])
        parts.append(
            marker(*place, order.index(trial["method"]), 4.2, "point" if on_front else "dominated", title)
        )
    last = -math.inf
    priced = [(m, f) for m, f in tested if f["deployed_parameters"] is not None]
    for method, finalist in sorted(priced, key=lambda pair: pair[1]["deployed_parameters"]):
        # Finalists of the same price would hide each other.
        last = max(x(finalist["deployed_parameters"]), last + 13)
        parts.append(_finalist(method["method"], finalist, order.index(method["method"]), last, y))
    return chart(WIDTH, HEIGHT, "Score against deployed parameters", *parts)


def incumbent(report: Report, trials: Sequence[Trial]) -> Markup:
    """Best validation so far against finished trials, one step line per method."""
    order = [method["method"] for method in report["methods"]]
    lines: dict[str, list[tuple[int, float]]] = {}
    for name in order:
        best = -math.inf
        ended = [t for t in trials if t["method"] == name and t["state"] in ("COMPLETE", "PRUNED", "FAIL")]
        for count, trial in enumerate(sorted(ended, key=_ended), start=1):
            if trial["state"] == "COMPLETE" and trial["validation"] is not None:
                best = max(best, trial["validation"])
            if math.isfinite(best):
                lines.setdefault(name, []).append((count, best))
    y = Scale.around([value for points in lines.values() for _, value in points], 266, TOP)
    most = max((points[-1][0] for points in lines.values()), default=1)
    x = Scale(0.5, most + 0.5, LEFT, RIGHT)
    parts = [left_axis(y, LEFT, RIGHT, f"best validation {report['objective']['metric']} so far")]
    parts.append(bottom_axis(x, 266, "trials of the method that ended"))
    for name, points in lines.items():
        index = order.index(name)
        steps = [(x(points[0][0]), y(points[0][1]))]
        for count, value in points[1:]:
            steps += [(x(count), steps[-1][1]), (x(count), y(value))]
        parts.append(polyline(steps, f"curve strong {method_class(index)}", name))
        parts.append(marker(*steps[-1], index, 4.5, "point", f"{name}: {points[-1][1]:.4f}"))
    return chart(WIDTH, 310, "Best validation score so far against trials", *parts)


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


def _plottable(trial: dict[str, Any]) -> bool:
    complete = trial["state"] == "COMPLETE"
    return complete and trial["validation"] is not None and trial["deployed_parameters"] is not None


def _ended(trial: Trial) -> tuple[str, int]:
    return trial["ended"] or "", trial["number"]


def _score_name(report: Report) -> str:
    return f"{report['objective']['metric']} (small: validation of a trial; large: test of a finalist)"


def _cost_axis(costs: Sequence[float]) -> tuple[Callable[[float], float], Markup]:
    """Deployed parameters on a log axis; 0 has no logarithm and sits left of a break."""
    positive = [math.log10(cost) for cost in costs if cost > 0]
    has_zero = any(cost <= 0 for cost in costs)
    zero, start = LEFT + 24.0, LEFT + (64.0 if has_zero else 0.0)
    log = Scale.around(positive or [3.0, 4.0], start, RIGHT)
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM)]
    if has_zero:
        parts += [text(zero, BOTTOM + 17, "0", class_="tick")]
        parts += [line(start - 14 + shift, BOTTOM + 6, start - 8 + shift, BOTTOM - 6) for shift in (0, 5)]
    for value in _log_ticks(log):
        parts += [line(log(math.log10(value)), TOP, log(math.log10(value)), BOTTOM, "grid")]
        parts += [text(log(math.log10(value)), BOTTOM + 17, tick_label(value), class_="tick")]
    parts.append(
        text(RIGHT, BOTTOM + 38, "deployed parameters (log scale; heads not counted)", "end", class_="axis")
    )
    return lambda cost: log(math.log10(cost)) if cost > 0 else zero, Markup("").join(parts)


def _log_ticks(log: Scale) -> list[float]:
    """The decades; where there are few of them, also steps inside."""
    decades = log.high - log.low
    factors = (1,) if decades > 2.5 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    values = [f * 10.0**e for e in range(math.floor(log.low), math.ceil(log.high) + 1) for f in factors]
    return [value for value in values if log.low <= math.log10(value) <= log.high]


def _epsilon_band(tested: list[tuple[dict[str, Any], dict[str, Any]]], epsilon: float, y: Scale) -> Markup:
    if not tested:
        return Markup("")
    best = max(finalist["test"]["mean"] for _, finalist in tested)
    top, bottom = y(best), min(y(best - epsilon), float(BOTTOM))
    title = element("title", f"within epsilon = {epsilon:g} of the best test mean, {best:.4f}")
    size = {"width": float(RIGHT - LEFT), "height": bottom - top}
    return element("rect", title, x=float(LEFT), y=top, class_="band", **size)


def _front_line(
    trials: Sequence[dict[str, Any]], front: set[tuple[str, int]], x: Callable[[float], float], y: Scale
) -> Markup:
    """Steps: more parameters buy nothing until the next point of the front."""
    found = [t for t in trials if (t["method"], t["number"]) in front]
    points: list[tuple[float, float]] = []
    for trial in sorted(found, key=lambda t: (t["deployed_parameters"], t["validation"])):
        place = x(trial["deployed_parameters"]), y(trial["validation"])
        points += [(place[0], points[-1][1])] if points else []
        points.append(place)
    return polyline([*points, (RIGHT, points[-1][1])], "front", "Pareto front") if points else Markup("")


def _finalist(name: str, finalist: dict[str, Any], index: int, place: float, y: Scale) -> Markup:
    """A large mark at the test mean with its interval; `place` is its horizontal pixel."""
    test = finalist["test"]
    parts = []
    interval = "interval not measured"
    if test["ci_low"] is not None:
        low, high = y(test["ci_low"]), y(test["ci_high"])
        interval = f"95 % interval {test['ci_low']:.4f} to {test['ci_high']:.4f}"
        parts = [line(place, low, place, high, "bar")]
        parts += [line(place - 5, edge, place + 5, edge, "bar") for edge in (low, high)]
    title = f"{name}, tested\n{test['mean']:.4f} over {len(test['values'])} seeds\n{interval}"
    parts.append(marker(place, y(test["mean"]), index, 8, "finalist", title))
    return element("g", *parts, class_=method_class(index))
