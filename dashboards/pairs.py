"""Pairs of methods: the recommended one against every other, and every other one against `head_only`."""

from __future__ import annotations

from typing import Any

from dashboards.rows import Rows
from dashboards.verdict import ALPHA, Comparison, Verdict, compare, contenders

ZERO_POINT = "head_only"
"""The method that trains nothing but heads: what a prompt adds is its difference to this one."""


def pairs(rows: Rows, verdict: Verdict) -> list[Comparison]:
    """Comparisons with their `family` and `outcome`; p values are Holm-corrected within a family.

    `recommended`: that method minus each other. `head_only`: each other method minus head_only, what prompts add.
    """
    found = [
        {**row, "family": "recommended"} for row in verdict.comparisons if row["method"] == verdict.method
    ]
    tested = contenders(rows)
    zero = next((c for c in tested if c.method == ZERO_POINT), None)
    if zero is not None:
        others = [c for c in tested if c is not zero]
        family = [
            _turned(row, verdict.epsilon) for row in compare(zero, others, verdict.epsilon, corrected=True)
        ]
        found += [{**row, "family": ZERO_POINT} for row in family]
    return [{**row, "outcome": outcome(row, verdict.epsilon)} for row in found]


def outcome(row: Comparison, epsilon: float) -> str:
    """What a comparison shows of its first method.

    Returns:
        "tie" where the whole interval is within epsilon of 0; else "better" or "worse" where the difference is
        significant; else "not shown". "not measured" without an interval.
    """
    low, high = row["ci_low"], row["ci_high"]
    if low is None or high is None:
        return "not measured"
    if -epsilon <= low and high <= epsilon:
        return "tie"
    decisive = row["p_value"] if row["p_holm"] is None else row["p_holm"]
    if decisive is None or decisive >= ALPHA:
        return "not shown"
    return "better" if row["difference"] > 0 else "worse"


def _turned(row: Comparison, epsilon: float) -> dict[str, Any]:
    """The same comparison, seen from the other side."""
    low, high = row["ci_low"], row["ci_high"]
    turned = {
        "method": row["against"],
        "against": row["method"],
        "difference": -row["difference"],
        "ci_low": None if high is None else -high,
        "ci_high": None if low is None else -low,
    }
    return {**row, **turned, "within_epsilon": None if high is None else -high >= -epsilon}
