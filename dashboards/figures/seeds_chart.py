"""The test score of every seed: a row for each method, with its mean and interval."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from dashboards.figures.svg import (
    PHONE,
    SCREEN,
    Frame,
    Scale,
    bottom_axis,
    chart,
    element,
    line,
    marker,
    method_class,
    text,
)
from dashboards.rows import chosen

Report = dict[str, Any]

ROW = 30
"""Pixels of a method."""
NAMES = {SCREEN.width: 150, PHONE.width: 108}
"""Pixels that the methods' names take."""


def strip(report: Report) -> Markup:
    """A dot for each seed of each tested method, the mean and interval as a line, and the trivial answer. Empty without a test."""
    tested = [
        (index, method["method"], finalist["test"])
        for index, method in enumerate(report["methods"])
        if (finalist := chosen(method["finalists"])) and finalist["test"]
    ]
    if not tested:
        return Markup("")
    draw = {frame.width: _draw(report, tested, frame) for frame in (SCREEN, PHONE)}
    return element("div", draw[SCREEN.width], class_="for-screen") + element(
        "div", draw[PHONE.width], class_="for-phone"
    )


def _draw(report: Report, tested: list[tuple[int, str, dict[str, Any]]], frame: Frame) -> Markup:
    trivial = report["trivial"]["test"] if report["trivial"] else None
    values = [value for _, _, test in tested for value in (*test["values"], *_ends(test))]
    values += [trivial] if trivial is not None else []
    left, top, bottom = NAMES[frame.width], 16, 16 + ROW * len(tested)
    x = Scale.around(values, left, frame.right)
    parts = [bottom_axis(x, bottom, f"test {report['objective']['metric']}", whole=False)]
    if trivial is not None:
        title = element("title", f"trivial answer: {trivial:.6g}")
        parts.append(element("g", title, line(x(trivial), top, x(trivial), bottom, "rule trivial")))
    for row, (index, name, test) in enumerate(tested):
        y = top + ROW * (row + 0.5)
        parts.append(text(left - 12, y + 4, name, anchor="end", class_="tick"))
        parts.append(_method(x, y, index, name, test))
    label = "The test score of every seed, with the mean of each method and its 95 % interval"
    return chart(frame.width, bottom + 48, label, *parts)


def _method(x: Scale, y: float, index: int, name: str, test: dict[str, Any]) -> Markup:
    """The seeds of a method as dots on its interval, and its mean."""
    ends = _ends(test)
    parts = [element("g", line(x(ends[0]), y, x(ends[1]), y, f"span {method_class(index)}"))] if ends else []
    for value in test["values"]:
        title = element("title", f"{name}: {value:.6g}")
        dot = f"seed {method_class(index)}"
        parts.append(element("circle", title, cx=x(value), cy=float(y), r=3.6, class_=dot))
    parts.append(marker(x(test["mean"]), y, index, 4.5, "point", f"{name}, mean: {test['mean']:.6g}"))
    return Markup("").join(parts)


def _ends(test: dict[str, Any]) -> list[float]:
    return [end for end in (test["ci_low"], test["ci_high"]) if end is not None]
