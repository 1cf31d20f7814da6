"""Differences of scores in words, the same on every page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALLEST = 5e-4
"""A smaller difference is 0.000 with three decimals."""


def signed(number: float) -> str:
    """A difference with its sign; the minus is a true one."""
    return "0.000" if abs(number) < SMALLEST else f"{number:+.3f}".replace("-", "\u2212")


def difference(row: Mapping[str, Any]) -> str:
    """A comparison's difference with its interval."""
    return signed(row["difference"]) + _interval(row["ci_low"], row["ci_high"])


def scores(row: Mapping[str, Any], turned: bool = False) -> str:
    """How a comparison's first method scores, in words.

    For example: scores 0.012 more (95 % interval +0.002 to +0.022).

    Args:
        row: a comparison.
        turned: say it of the second method.
    """
    gap, low, high = row["difference"], row["ci_low"], row["ci_high"]
    if turned:
        gap, low, high = -gap, None if high is None else -high, None if low is None else -low
    amount = "the same" if abs(gap) < SMALLEST else f"{abs(gap):.3f} {'more' if gap > 0 else 'less'}"
    return f"scores {amount}{_interval(low, high)}"


def _interval(low: float | None, high: float | None) -> str:
    """An interval in brackets; nothing where it adds nothing."""
    if low is None or high is None or max(abs(low), abs(high)) < SMALLEST:
        return ""
    return f" (95 % interval {signed(low)} to {signed(high)})"
