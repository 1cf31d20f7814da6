"""Small charts of validation against one hyperparameter of a method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from dashboards.figures.svg import Scale, bottom_axis, chart, left_axis, line, marker, text, tick_label
from dashboards.findings.why import varied
from dashboards.rows import Method, Trial, finite

Report = dict[str, Any]

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 300, 44, 290, 30, 136


def slices(report: Report, method: Method, trials: Sequence[Trial], index: int) -> list[tuple[str, Markup]]:
    """(hyperparameter, chart) of each that varies, the most important first.

    Args:
        report: what `report.build` returns.
        method: the row of the method, whose ranges say which axes are logarithmic.
        trials: of the study.
        index: of the method, for its colour and shape.
    """
    own = [
        t
        for t in trials
        if t["method"] == method["method"] and t["state"] == "COMPLETE" and finite(t["validation"])
    ]
    entry = report["methods"][index]
    scores = [score for trial in own if (score := trial["validation"]) is not None]
    y = Scale.around(scores, BOTTOM, TOP)
    found = []
    for name in varied(own, method):
        places, axis = _axis(name, [t["config"].get(name) for t in own], method)
        parts = [left_axis(y, LEFT, RIGHT, "validation"), axis]
        for trial, place, score in zip(own, places, scores, strict=True):
            if place is not None:
                best = trial["number"] == entry["best_trial"]
                value = trial["config"].get(name)
                shown = f"{value:.4g}" if isinstance(value, float) else value
                title = f"trial {trial['number']}: {shown}, {score:.4g}"
                parts.append(
                    marker(
                        place, y(score), index, 6 if best else 3.6, "point" if best else "point faint", title
                    )
                )
        label = f"{method['method']}: validation against {name}"
        found.append((name, chart(WIDTH, 178, label, *parts)))
    return found


def _axis(name: str, values: Sequence[Any], method: Method) -> tuple[list[float | None], Markup]:
    """The pixel of each value, and the axis. None for no value."""
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    known = [value for value in values if value is not None]
    if len(numbers) < len(known):
        return _choices(values)
    log = bool(method["space"].get(name, {}).get("log")) and min(numbers) > 0
    scale = Scale.around([math.log10(n) if log else float(n) for n in numbers], LEFT, RIGHT)
    places = [None if v is None else scale(math.log10(v) if log else float(v)) for v in values]
    if not log:
        return places, bottom_axis(scale, BOTTOM, "", whole=False)
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM)]
    for value in sorted({min(numbers), max(numbers)}):
        parts.append(
            text(scale(math.log10(value)), BOTTOM + 17, tick_label(float(f"{value:.2g}")), class_="tick")
        )
    parts.append(text((LEFT + RIGHT) / 2, BOTTOM + 17, "log scale", class_="tick"))
    return places, Markup("").join(parts)


def _choices(values: Sequence[Any]) -> tuple[list[float | None], Markup]:
    names = sorted({str(value) for value in values if value is not None})
    step = (RIGHT - LEFT) / len(names)
    places = {name: LEFT + step * (number + 0.5) for number, name in enumerate(names)}
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM)]
    width = max(4, int(step / 7.5))
    for name, place in places.items():
        short = name if len(name) <= width else f"{name[: width - 1]}\u2026"
        parts.append(text(place, BOTTOM + 17, short, class_="tick"))
    return [None if value is None else places[str(value)] for value in values], Markup("").join(parts)
