"""How numbers and facts are written. The filters of the templates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dashboards.findings import words
from dashboards.rows import STATES, chosen

DASH = "–"
"""Stands in a table for what was not measured; sentences are left out instead."""

UNITS = ("_seconds", "_bytes")
PARTS = {2: "half", 3: "third", 4: "quarter"}


def score(number: float | None, of: dict[str, Any] | None = None) -> str:
    """A score, as precise as the interval `of` what it belongs to warrants."""
    return DASH if number is None else words.score(number, words.error_of(of) if of else None)


def signed(number: float | None, of: dict[str, Any] | None = None) -> str:
    """A difference of scores with its sign."""
    return DASH if number is None else words.signed(number, words.error_of(of) if of else None)


def gain(number: float) -> str:
    """A difference of scores as words: "0.012 more than"."""
    amount = words.signed(number)
    return "the same as" if amount == "0.000" else f"{amount[1:]} {'more' if number > 0 else 'less'} than"


def interval(low_high: dict[str, Any] | None, sign: bool = False) -> str:
    """`ci_low` to `ci_high`."""
    return (words.interval(low_high, sign) if low_high else None) or DASH


def flags(method: dict[str, Any]) -> list[str]:
    """What should be known of a method wherever it stands."""
    found = [] if method["state"] == "compared" else [method["state"]]
    finalist = chosen(method["finalists"])
    if finalist:
        failed, count = len(finalist["failed_seeds"]), len(finalist["seeds"])
        if failed and method["state"] == "compared":
            found.append(f"{failed} of {words.count(failed + count, 'seed')} failed")
        if method["collapsed_seeds"]:
            found.append(f"{method['collapsed_seeds']} of {words.count(count, 'seed')} collapsed")
    return found


def count(number: int | None) -> str:
    """12,345."""
    return DASH if number is None else f"{number:,}"


def share(number: float | None) -> str:
    """A percentage with two significant digits."""
    if number is None:
        return DASH
    percent = 100 * number
    if percent == 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(abs(percent))))
    return f"{percent:.{min(digits, 6)}f} %"


def seconds(number: float | None) -> str:
    """Seconds, minutes or hours, whichever is short."""
    if number is None:
        return DASH
    if number < 120:
        return f"{number:.1f} s"
    return f"{number / 60:.1f} min" if number < 7200 else f"{number / 3600:.1f} h"


def size(number: float | None) -> str:
    """Bytes, as kB, MB or GB."""
    if number is None:
        return DASH
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(
        (f"{number / factor:.3g} {unit}" for factor, unit in units if number >= factor), f"{number:.0f} B"
    )


def figure(number: float | None, measure: str) -> str:
    """A number by the name of what it measures."""
    if number is None:
        return DASH
    if measure.endswith("bytes"):
        return size(number)
    if measure.endswith("seconds"):
        return f"{1000 * number:.3g} ms" if number < 1 else seconds(number)
    if measure.endswith("parameters"):
        return f"{number:,}"
    return f"{number:.3g}" if measure.endswith("per_second") else score(number)


def heading(measure: str) -> str:
    """A column's heading. That of peak_memory_bytes is "Peak memory"."""
    for unit in UNITS:
        measure = measure.removesuffix(unit)
    return {"seconds": "Time"}.get(measure, measure.replace("_", " ").capitalize())


def p_value(number: float | None) -> str:
    """A p value; tiny ones as a bound."""
    if number is None:
        return DASH
    return "< 0.001" if number < 0.001 else f"{number:.3f}"


def value(item: Any) -> str:
    """A hyperparameter or a fact: floats with four digits, lists joined."""
    if item is None:
        return DASH
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return f"{item:.4g}"
    if isinstance(item, (list, tuple)):
        return ", ".join(value(part) for part in item) or "none"
    if isinstance(item, dict):
        return ", ".join(f"{key}: {value(part)}" for key, part in item.items()) or "none"
    return str(item)


def line(text: Any) -> str:
    """Text that stays inside a Markdown table cell."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def part(eta: int) -> str:
    """1/eta in words: 3 is "third"."""
    return PARTS.get(eta, f"1/{eta}")


FILTERS: dict[str, Callable[..., Any]] = {
    "score": score,
    "signed": signed,
    "gain": gain,
    "interval": interval,
    "flags": flags,
    "count": count,
    "share": share,
    "seconds": seconds,
    "figure": figure,
    "heading": heading,
    "p": p_value,
    "value": value,
    "line": line,
    "number_of": words.count,
    "part": part,
    "state": lambda state: STATES[state],
    "chosen": lambda method: chosen(method["finalists"]),
}
