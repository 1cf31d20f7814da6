"""The chart of a Pareto front: score against one cost, on a log axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from dashboards.figures.svg import (
    Scale,
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
from dashboards.findings.fronts import AXES, Axis, tested

Report = dict[str, Any]
Entry = tuple[dict[str, Any], dict[str, Any], float]
"""A method, its tested finalist, and what that costs."""

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 56, 840, 34, 376
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def charts(report: Report) -> list[tuple[str, Markup]]:
    """(axis, chart) of each cost that is known of any point."""
    found = []
    for axis, entry in zip(AXES, report["fronts"], strict=True):
        trials = _trials(report, axis)
        if entry["front"] or trials:
            found.append((axis.name, _chart(report, axis, entry, trials)))
    return found


def _chart(report: Report, axis: Axis, entry: dict[str, Any], trials: list[dict[str, Any]]) -> Markup:
    """Dominated trials are grey, the front is a step line, the band is epsilon under the best test mean."""
    order = [method["method"] for method in report["methods"]]
    costs = {(p["method"], p["number"]): p["cost"] for p in tested(report["methods"], axis.key)}
    finalists: list[Entry] = [
        (method, finalist, costs[method["method"], finalist["number"]])
        for method in report["methods"]
        for finalist in method["finalists"]
        if finalist["test"] and (method["method"], finalist["number"]) in costs
    ]
    every = [(m, f) for m in report["methods"] for f in m["finalists"] if f["test"]]
    y = Scale.around(_scores(trials, every), BOTTOM, TOP)
    x, ticks = _cost_axis([t[axis.key] for t in trials] + list(costs.values()), axis.label)
    parts = [
        _epsilon_band(every, report["epsilon"], y),
        left_axis(y, LEFT, RIGHT, _score_name(report, axis)),
        ticks,
    ]
    parts += [_baselines(every, order, y), _front_line(entry["front"], x, y)]
    front = {(point["method"], point["number"]) for point in entry["front"]}
    # The front is drawn last, over the points that it dominates.
    for trial in sorted(trials, key=lambda t: (t["method"], t["number"]) in front):
        parts.append(_trial(trial, (trial["method"], trial["number"]) in front, order, axis, x, y))
    last = -math.inf
    for method, finalist, cost in sorted(finalists, key=lambda item: item[2]):
        # Finalists of the same price would hide each other.
        last = max(x(cost), last + 13)
        parts.append(_finalist(method["method"], finalist, order.index(method["method"]), last, y))
    if knee := entry["knee"]:
        parts.append(_knee(knee, x, y))
    return chart(WIDTH, HEIGHT, f"Score against {axis.name}", *parts)


def _trials(report: Report, axis: Axis) -> list[dict[str, Any]]:
    """The complete trials that have a place on the chart."""
    if not axis.of_trials:
        return []
    complete = [trial for trial in report["trials"] if trial["state"] == "COMPLETE"]
    return [t for t in complete if t["validation"] is not None and t[axis.key] is not None]


def _scores(trials: Sequence[dict[str, Any]], every: Sequence[tuple[Any, dict[str, Any]]]) -> list[float]:
    scores = [trial["validation"] for trial in trials]
    for _, finalist in every:
        test = finalist["test"]
        scores += [test["mean"], *(x for x in (test["ci_low"], test["ci_high"]) if x is not None)]
    return scores


def _score_name(report: Report, axis: Axis) -> str:
    metric = report["objective"]["metric"]
    return (
        f"{metric} (small: validation of a trial; large: test of a finalist)"
        if axis.of_trials
        else f"test {metric}"
    )


def _trial(
    trial: dict[str, Any], on_front: bool, order: list[str], axis: Axis, x: Callable[[float], float], y: Scale
) -> Markup:
    title = (
        f"{trial['method']} trial {trial['number']}\nvalidation {trial['validation']:.4f}\n"
        f"{trial[axis.key]:,} {axis.name}{'' if on_front else ' (dominated)'}"
    )
    place = x(trial[axis.key]), y(trial["validation"])
    kind = "point" if on_front else "dominated"
    return marker(*place, order.index(trial["method"]), 4.2, kind, title)


def _cost_axis(costs: Sequence[float], label: str) -> tuple[Callable[[float], float], Markup]:
    """A log axis; 0 has no logarithm and sits left of a break."""
    positive = [math.log10(cost) for cost in costs if cost > 0]
    has_zero = any(cost <= 0 for cost in costs)
    zero, start = LEFT + 24.0, LEFT + (64.0 if has_zero else 0.0)
    log = Scale.around(positive or [3.0, 4.0], start, RIGHT)
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM)]
    if has_zero:
        parts += [text(zero, BOTTOM + 17, "0", class_="tick")]
        parts += [line(start - 14 + shift, BOTTOM + 6, start - 8 + shift, BOTTOM - 6) for shift in (0, 5)]
    for value in _log_ticks(log):
        place = log(math.log10(value))
        parts += [
            line(place, TOP, place, BOTTOM, "grid"),
            text(place, BOTTOM + 17, _short(value), class_="tick"),
        ]
    parts.append(text(RIGHT, BOTTOM + 38, f"{label}, log scale", "end", class_="axis"))
    return lambda cost: log(math.log10(cost)) if cost > 0 else zero, Markup("").join(parts)


def _short(value: float) -> str:
    """12,000 and 0.05 as they are, millions with a letter."""
    if value < 1e6:
        return tick_label(value)
    size, letter = next(prefix for prefix in PREFIXES if value >= prefix[0])
    return f"{value / size:g} {letter}"


def _log_ticks(log: Scale) -> list[float]:
    """The decades; where there are few of them, also steps inside."""
    decades = log.high - log.low
    factors = (1,) if decades > 2.5 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    values = [f * 10.0**e for e in range(math.floor(log.low), math.ceil(log.high) + 1) for f in factors]
    return [value for value in values if log.low <= math.log10(value) <= log.high]


def _epsilon_band(every: Sequence[tuple[dict[str, Any], dict[str, Any]]], epsilon: float, y: Scale) -> Markup:
    if not every:
        return Markup("")
    best = max(finalist["test"]["mean"] for _, finalist in every)
    top, bottom = y(best), min(y(best - epsilon), float(BOTTOM))
    title = element("title", f"within epsilon = {epsilon:g} of the best test mean, {best:.4f}")
    size = {"width": float(RIGHT - LEFT), "height": bottom - top}
    return element("rect", title, x=float(LEFT), y=top, class_="band", **size)


def _baselines(every: Sequence[tuple[dict[str, Any], dict[str, Any]]], order: list[str], y: Scale) -> Markup:
    """A line at the test mean of each baseline; names that would overlap move apart."""
    found = sorted(((m, f["test"]["mean"]) for m, f in every if m["baseline"]), key=lambda pair: pair[1])
    parts, free = [], float(BOTTOM)
    for method, mean in found:
        colour = method_class(order.index(method["method"]))
        title = element("title", f"{method['method']}, a baseline: test {mean:.4f}")
        place = float(y(mean))
        parts.append(
            element(
                "line",
                title,
                x1=float(LEFT),
                x2=float(RIGHT),
                y1=place,
                y2=place,
                class_=f"baseline {colour}",
            )
        )
        free = min(place - 4, free)
        parts.append(text(RIGHT - 2, free, method["method"], "end", class_=f"note {colour}"))
        free -= 14
    return Markup("").join(parts)


def _front_line(front: Sequence[dict[str, Any]], x: Callable[[float], float], y: Scale) -> Markup:
    """Steps: a higher cost buys nothing until the next point of the front."""
    points: list[tuple[float, float]] = []
    for point in front:
        place = x(point["cost"]), y(point["score"])
        points += [(place[0], points[-1][1])] if points else []
        points.append(place)
    return polyline([*points, (RIGHT, points[-1][1])], "front", "Pareto front") if points else Markup("")


def _knee(knee: dict[str, Any], x: Callable[[float], float], y: Scale) -> Markup:
    """A ring, and its name under it."""
    place = float(x(knee["cost"])), float(y(knee["score"]))
    title = element("title", f"knee of the front: {knee['method']} trial {knee['number']}")
    ring = element("circle", title, cx=place[0], cy=place[1], r=13.0, class_="knee")
    return ring + text(place[0], place[1] + 26, "knee", class_="note")


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
