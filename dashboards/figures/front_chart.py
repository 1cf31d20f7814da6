"""Charts of Pareto fronts: score against one cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from markupsafe import Markup

from dashboards.figures.svg import (
    Frame,
    Scale,
    both,
    chart,
    element,
    left_axis,
    line,
    marker,
    method_class,
    polyline,
    text,
    text_width,
    tick_label,
    tick_labels,
)
from dashboards.findings.fronts import AXES, Axis, Point, of_trials, tested

Report = dict[str, Any]
Place = Callable[[float], float]
"""From a cost to its pixel."""

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
LABEL_GAP = 14
"""Pixels between the names of two baselines."""
FINALIST_GAP = 13
"""Finalists of the same price would hide each other, so they stand this far apart."""


def charts(report: Report) -> list[tuple[str, Markup, Point | None]]:
    """(axis, chart, best trade-off) of each known cost."""
    found = []
    for axis, entry in zip(AXES, report["fronts"], strict=True):
        trials = of_trials(report["trials"], axis.key) if axis.of_trials else []
        if entry["front"] or trials:
            found.append((axis.name, both(partial(_chart, report, axis, entry, trials)), entry["knee"]))
    return found


def _chart(report: Report, axis: Axis, entry: dict[str, Any], trials: list[Point], frame: Frame) -> Markup:
    """One chart. Trials off the front are grey, the front is a step line, the band is epsilon wide."""
    order = [method["method"] for method in report["methods"]]
    baselines = [m["method"] for m in report["methods"] if m["baseline"] and _tests(m)]
    # The names of the baselines have a margin of their own, where there are no marks.
    margin = max((text_width(name) for name in baselines), default=0.0)
    frame = replace(frame, right=min(frame.right, int(frame.width - margin - 6)))
    finalists = tested(report["methods"], axis.key)
    tests = [test for method in report["methods"] for test in _tests(method)]
    y = Scale.around(_scores(trials, tests), frame.bottom, frame.top)
    x, ticks = _cost_axis([p["cost"] for p in (*trials, *finalists)], axis.label, frame)
    metric = report["objective"]["metric"]
    parts = [_epsilon_band(tests, report["epsilon"], y, frame)]
    parts += [left_axis(y, frame.left, frame.right, metric if axis.of_trials else f"test {metric}"), ticks]
    parts += [_baselines(report, order, y, frame), _front_line(entry["front"], x, y, frame)]
    front = {(point["method"], point["number"]) for point in entry["front"]}
    # The front is drawn last, over the points that it beats.
    for point in sorted(trials, key=lambda p: (p["method"], p["number"]) in front):
        on_front = (point["method"], point["number"]) in front
        parts.append(_trial(point, on_front, order.index(point["method"]), axis, x, y))
    last = -math.inf
    for point in sorted(finalists, key=lambda p: p["cost"]):
        last = max(x(point["cost"]), last + FINALIST_GAP)
        index = order.index(point["method"])
        parts.append(_finalist(point["method"], _test_of(report["methods"][index], point), index, last, y))
    if knee := entry["knee"]:
        parts.append(_trade_off(knee, x, y))
    return chart(frame.width, frame.height, f"Score against {axis.name}", *parts)


def _tests(method: dict[str, Any]) -> list[dict[str, Any]]:
    """The test scores of a method's finalists."""
    return [finalist["test"] for finalist in method["finalists"] if finalist["test"]]


def _test_of(method: dict[str, Any], point: Point) -> dict[str, Any]:
    """The test scores of the finalist that a point stands for."""
    tests = (f["test"] for f in method["finalists"] if f["test"] and f["number"] == point["number"])
    found: dict[str, Any] = next(tests)
    return found


def _scores(trials: Sequence[Point], tests: Sequence[dict[str, Any]]) -> list[float]:
    scores = [trial["score"] for trial in trials]
    for test in tests:
        scores += [test["mean"], *(x for x in (test["ci_low"], test["ci_high"]) if x is not None)]
    return scores


def _trial(point: Point, on_front: bool, index: int, axis: Axis, x: Place, y: Scale) -> Markup:
    title = (
        f"{point['method']} trial {point['number']}\nvalidation {point['score']:.4g}\n"
        f"{point['cost']:,} {axis.name}"
    )
    kind = "point" if on_front else "dominated"
    return marker(x(point["cost"]), y(point["score"]), index, 4.2, kind, title)


def _cost_axis(costs: Sequence[float], label: str, frame: Frame) -> tuple[Place, Markup]:
    """A log axis. 0 has no logarithm and sits left of a break."""
    positive = [math.log10(cost) for cost in costs if cost > 0]
    has_zero = any(cost <= 0 for cost in costs)
    zero, start = frame.left + 18.0, frame.left + (54.0 if has_zero else 0.0)
    log = Scale.around(positive or [3.0, 4.0], start, frame.right)
    bottom, labels = frame.bottom, [(zero, "0")] if has_zero else []
    parts = [line(frame.left, bottom, frame.right, bottom)]
    if has_zero:
        parts += [line(start - 14 + shift, bottom + 6, start - 8 + shift, bottom - 6) for shift in (0, 5)]
    for value in _log_ticks(log):
        place = log(math.log10(value))
        parts.append(line(place, frame.top, place, bottom, "grid"))
        labels.append((place, _short(value)))
    parts.append(tick_labels(labels, bottom))
    parts.append(text(frame.width - 6, bottom + 38, f"{label}, log scale", "end", class_="axis"))
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


def _epsilon_band(tests: Sequence[dict[str, Any]], epsilon: float, y: Scale, frame: Frame) -> Markup:
    if not tests:
        return Markup("")
    best = max(test["mean"] for test in tests)
    top, bottom = y(best), min(y(best - epsilon), float(frame.bottom))
    title = element("title", f"at most {epsilon:g} below the best test mean, {best:.4g}")
    size = {"width": float(frame.right - frame.left), "height": bottom - top}
    return element("rect", title, x=float(frame.left), y=top, class_="band", **size)


def _baselines(report: Report, order: list[str], y: Scale, frame: Frame) -> Markup:
    """A line for each baseline, its name in the right margin."""
    found = [(m["method"], test["mean"]) for m in report["methods"] if m["baseline"] for test in _tests(m)]
    parts, free = [], float(frame.bottom)
    for method, mean in sorted(found, key=lambda pair: pair[1]):
        colour = method_class(order.index(method))
        title = element("title", f"{method}, a baseline: test {mean:.4g}")
        place = float(y(mean))
        ends = {"x1": float(frame.left), "x2": float(frame.right), "y1": place, "y2": place}
        parts.append(element("line", title, **ends, class_=f"baseline {colour}"))
        free = min(place + 4, free)
        parts.append(text(frame.right + 4, free, method, "start", class_=f"note {colour}"))
        free -= LABEL_GAP
    return Markup("").join(parts)


def _front_line(front: Sequence[Point], x: Place, y: Scale, frame: Frame) -> Markup:
    """The front in steps: a higher cost buys nothing until the next point."""
    points: list[tuple[float, float]] = []
    for point in front:
        place = x(point["cost"]), y(point["score"])
        points += [(place[0], points[-1][1])] if points else []
        points.append(place)
    if not points:
        return Markup("")
    return polyline([*points, (frame.right, points[-1][1])], "front", "Pareto front")


def _trade_off(point: Point, x: Place, y: Scale) -> Markup:
    """A ring around the best trade-off."""
    title = element("title", f"best trade-off: {point['method']} trial {point['number']}")
    place = {"cx": float(x(point["cost"])), "cy": float(y(point["score"]))}
    return element("circle", title, **place, r=13.0, class_="trade-off")


def _finalist(name: str, test: dict[str, Any], index: int, place: float, y: Scale) -> Markup:
    """A large mark with its interval. `place` is its horizontal pixel."""
    parts, interval = [], ""
    if test["ci_low"] is not None:
        low, high = y(test["ci_low"]), y(test["ci_high"])
        interval = f"\n95 % interval {test['ci_low']:.4g} to {test['ci_high']:.4g}"
        parts = [line(place, low, place, high, "bar")]
        parts += [line(place - 5, edge, place + 5, edge, "bar") for edge in (low, high)]
    title = f"{name}, tested\n{test['mean']:.4g} over {len(test['values'])} seeds{interval}"
    parts.append(marker(place, y(test["mean"]), index, 8, "finalist", title))
    return element("g", *parts, class_=method_class(index))
