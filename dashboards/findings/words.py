"""Numbers and differences of scores in words, the same on every page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DIGITS = 3
"""Decimals of a score whose error is not known."""
SIGNIFICANT = 6
"""No number has more significant digits."""


def score(number: float, error: float | None = None) -> str:
    """A score with two digits of its error, and never more than six significant digits."""
    decimals = DIGITS
    if error is not None and error > 0 and math.isfinite(error):
        decimals = min(max(1 - math.floor(math.log10(error)), 0), SIGNIFICANT)
    text = f"{number:.{decimals}f}"
    if len(text.strip("-").replace(".", "").lstrip("0")) > SIGNIFICANT:
        return f"{number:.{SIGNIFICANT}g}"
    return text


def signed(number: float, error: float | None = None) -> str:
    """A difference with its sign; the minus is a true one."""
    text = score(abs(number), error)
    if not text.strip("0."):
        return text
    return ("+" if number > 0 else "\u2212") + text


def error_of(row: Mapping[str, Any]) -> float | None:
    """The error that an interval stands for: a quarter of its width."""
    low, high = row["ci_low"], row["ci_high"]
    return None if low is None or high is None else (high - low) / 4


def interval(row: Mapping[str, Any], sign: bool = False) -> str | None:
    """`ci_low` to `ci_high`, as precise as it is wide; None where there is none."""
    if row["ci_low"] is None or row["ci_high"] is None:
        return None
    error, say = error_of(row), signed if sign else score
    return f"{say(row['ci_low'], error)} to {say(row['ci_high'], error)}"


def difference(row: Mapping[str, Any]) -> str:
    """A comparison's difference with its interval."""
    text, found = signed(row["difference"], error_of(row)), interval(row, sign=True)
    return f"{text} (95 % interval {found})" if found else text


def p_value(number: float) -> str:
    """A p value; tiny ones as a bound."""
    return "p < 0.001" if number < 0.001 else f"p = {number:.3f}"


def count(number: int, noun: str) -> str:
    """1 trial, 2 trials."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def minutes(seconds: float) -> str:
    """About how long something takes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
