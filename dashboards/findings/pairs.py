"""Pairs of methods: each against the recommended one, and against `head_only`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from dashboards.findings.statistics import difference, holm
from dashboards.findings.verdict import ALPHA, Comparison, Contender, Verdict, compare, contenders
from dashboards.rows import Rows

BASELINE = "head_only"
"""The method that trains heads alone; what prompts add is the difference to it."""


def pairs(rows: Rows, verdict: Verdict) -> list[Comparison]:
    """Comparisons with their `family` and `outcome`, Holm-corrected over all pairs.

    `recommended`: that method minus each other. `head_only`: each other method minus head_only, what prompts add.

    The verdict makes one claim of all its comparisons; here each is a claim of its own, and the recommended method was chosen
    by its scores. Were it taken as given, one of its comparisons would be false in 8 % of studies of equal methods
    (docs/search_quality.md).
    """
    found = [
        {**row, "family": "recommended"} for row in verdict.comparisons if row["method"] == verdict.method
    ]
    tested = contenders(rows)
    baseline = next((c for c in tested if c.method == BASELINE), None)
    if baseline is not None:
        others = [c for c in tested if c is not baseline]
        family = [
            _turned(row, verdict.epsilon)
            for row in compare(baseline, others, verdict.epsilon, corrected=True)
        ]
        found += [{**row, "family": BASELINE} for row in family]
    found = _corrected(found, tested)
    return [{**row, "outcome": outcome(row, verdict.epsilon)} for row in found]


def _corrected(found: Iterable[Comparison], tested: Sequence[Contender]) -> list[Comparison]:
    """The comparisons, corrected over all pairs of tested methods."""
    p_values = {
        frozenset((one.method, other.method)): difference(one.sample, other.sample).p_value
        for one, other in combinations(tested, 2)
    }
    measured = {pair: p_value for pair, p_value in p_values.items() if p_value is not None}
    corrected = dict(zip(measured, holm(list(measured.values())), strict=True))
    rows = []
    for row in found:
        p_holm = corrected.get(frozenset((row["method"], row["against"])))
        rows.append({**row, "p_holm": p_holm, "tie": None if p_holm is None else p_holm >= ALPHA})
    return rows


def outcome(row: Comparison, epsilon: float) -> str:
    """What a comparison shows of its first method.

    Returns:
        "equal" where the whole interval is within epsilon of 0; else "better" or "worse" where the difference is
        significant; else "not shown". "not measured" without an interval.
    """
    low, high = row["ci_low"], row["ci_high"]
    if low is None or high is None:
        return "not measured"
    if -epsilon <= low and high <= epsilon:
        return "equal"
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
