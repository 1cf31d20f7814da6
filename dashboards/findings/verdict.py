"""Which method to use: the verdict of a study, from the test scores of its finalists.

1. Compared are the methods whose chosen finalist finished every seed and was tested with each.
2. `best` is the one with the highest test mean.
3. The candidate has the fewest deployed parameters (heads are not counted) among the methods whose paired
   interval against `best` stays within epsilon: its lower end is at least -epsilon. `best` itself qualifies.
4. The candidate is the `winner` only if it is significantly better than every cheaper method; p values are
   Holm-corrected over one family, the candidate against each other method. Otherwise `no difference`.
5. The basis is `score` if it is significantly better than all the others too, `cost` if not: a winner by
   cost is the cheapest that will do, and claims no difference in score to a method that costs more.

A cheaper method of the study that could not be compared was not beaten, so it stops a winner; and one method
alone has won nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dashboards.findings.statistics import SEEDS, Estimate, Sample, difference, holm
from dashboards.rows import Finalist, Rows, Scalar

ALPHA = 0.05
"""Level of the tests, and 1 - level of the intervals."""

FEW_SEEDS = 3
"""With so many seeds or fewer, t has so few degrees of freedom that an interval is rough."""

Comparison = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What the report says first; `comparisons` are documented in docs/report.md."""

    decision: Literal["winner", "no difference", "none"]
    reason: str
    epsilon: float
    basis: Literal["score", "cost"] | None = None
    method: str | None = None
    config: dict[str, Scalar] | None = None
    best: str | None = None
    comparisons: list[Comparison] = field(default_factory=list)


@dataclass(frozen=True)
class Contender:
    """A method that can be compared: a tested finalist, its price in deployed parameters, its scores."""

    method: str
    config: dict[str, Scalar]
    parameters: float
    sample: Sample

    @property
    def mean(self) -> float:
        """Test mean over seeds."""
        return float(self.sample.values.mean())


def tested_sample(finalist: Finalist, tasks: list[str]) -> Sample | None:
    """The test scores of a finalist's finished runs; None if one of them, or all, have none."""
    runs = [run for run in finalist["runs"] if run["state"] == "COMPLETE"]
    values = [run["test"] for run in runs]
    if (
        not finalist["chosen"]
        or not values
        or any(value is None or not math.isfinite(value) for value in values)
    ):
        return None
    tables = []
    for task in tasks:
        table = [(run.get("examples") or {}).get(task) or [] for run in runs]
        if not table[0] or len({len(row) for row in table}) > 1:
            return Sample(np.array(values, dtype=np.float64))
        tables.append(np.array(table, dtype=np.float64))
    return Sample(np.array(values, dtype=np.float64), tuple(tables))


def contenders(rows: Rows) -> list[Contender]:
    """The methods that can be compared, cheapest first."""
    tasks = [task["name"] for task in rows["tasks"]]
    found = []
    for finalist in rows["finalists"]:
        sample = tested_sample(finalist, tasks)
        if sample is None or any(run["state"] != "COMPLETE" for run in finalist["runs"]):
            continue
        parameters = finalist["deployed_parameters"]
        price = math.inf if parameters is None else float(parameters)
        found.append(Contender(finalist["method"], finalist["config"], price, sample))
    return sorted(found, key=lambda contender: (contender.parameters, -contender.mean))


def decide(rows: Rows) -> Verdict:
    """The verdict of a study."""
    epsilon = rows["epsilon"]
    found = contenders(rows)
    if not found:
        return Verdict("none", _nothing_tested(rows), epsilon)
    # Equal means: the cheaper one, which comes first.
    best = max(found, key=lambda contender: contender.mean)
    candidate = next(c for c in found if c is best or _within(difference(c.sample, best.sample), epsilon))
    others = [c for c in found if c is not candidate]
    family = compare(candidate, others, epsilon, corrected=True)
    rest = [] if best is candidate else [c for c in others if c is not best]
    comparisons = family + compare(best, rest, epsilon, corrected=False)
    beaten = {row["against"] for row in family if row["difference"] > 0 and row["tie"] is False}
    unbeaten = [c for c in others if c.parameters < candidate.parameters and c.method not in beaten]
    untested = _cheaper_untested(rows, candidate, {c.method for c in found})
    measured = all(row["p_value"] is not None for row in family)

    basis: Literal["score", "cost"] | None = None
    if others and measured and not unbeaten and not untested:
        basis = "score" if len(beaten) == len(others) else "cost"
    reason = _reason(candidate, best, basis, family, unbeaten, untested, epsilon)
    decision: Literal["winner", "no difference"] = "winner" if basis else "no difference"
    return Verdict(
        decision, reason, epsilon, basis, candidate.method, candidate.config, best.method, comparisons
    )


def _within(estimate: Estimate, epsilon: float) -> bool:
    return estimate.ci_low is not None and estimate.ci_low >= -epsilon


def compare(one: Contender, others: list[Contender], epsilon: float, corrected: bool) -> list[Comparison]:
    """`one` minus each of the others; Holm's correction over those that were measured."""
    estimates = [difference(one.sample, other.sample) for other in others]
    p_values = [estimate.p_value for estimate in estimates if estimate.p_value is not None]
    adjusted = iter(holm(p_values))
    found = []
    for other, estimate in zip(others, estimates, strict=True):
        p_holm = next(adjusted) if corrected and estimate.p_value is not None else None
        decisive = p_holm if corrected else estimate.p_value
        found.append(
            {
                "method": one.method,
                "against": other.method,
                "difference": estimate.mean,
                "ci_low": estimate.ci_low,
                "ci_high": estimate.ci_high,
                "p_value": estimate.p_value,
                "p_holm": p_holm,
                "tie": None if decisive is None else decisive >= ALPHA,
                "within_epsilon": None if estimate.ci_low is None else _within(estimate, epsilon),
                "degrees_of_freedom": estimate.degrees_of_freedom,
                "covers": estimate.covers,
            }
        )
    return found


def _cheaper_untested(rows: Rows, candidate: Contender, tested: set[str]) -> list[str]:
    """Methods known to be cheaper than the candidate that were not compared."""
    costs: dict[str, list[int]] = {}
    for row in (*rows["trials"], *rows["finalists"]):
        if row["deployed_parameters"] is not None:
            costs.setdefault(row["method"], []).append(row["deployed_parameters"])
    names = [method["method"] for method in rows["methods"] if method["method"] not in tested]
    # A method that searches its length is cheaper only if all it found is.
    return [name for name in names if name in costs and max(costs[name]) < candidate.parameters]


def _nothing_tested(rows: Rows) -> str:
    if not rows["trials"]:
        return "No trial has run yet, so there is nothing to compare."
    complete = sum(trial["state"] == "COMPLETE" for trial in rows["trials"])
    return (
        f"No finalist has finished on the test split, so no method can be recommended: {complete} of "
        f"{len(rows['trials'])} trials are complete and {len(rows['finalists'])} finalists were promoted."
    )


def _reason(
    candidate: Contender,
    best: Contender,
    basis: str | None,
    family: list[Comparison],
    unbeaten: list[Contender],
    untested: list[str],
    epsilon: float,
) -> str:
    """One plain sentence with the numbers that decided."""
    cheaper = any(row["tie"] is False and row["difference"] > 0 for row in family)
    rows = {row["against"]: row for row in family}
    if not family:
        text = f"Only {_scored(candidate)} has a tested finalist, so there is nothing to compare it with"
    elif any(row["p_value"] is None for row in family):
        text = f"{_scored(candidate)} is the candidate, but with one seed a difference cannot be measured"
    elif basis == "score":
        nearest = min(family, key=lambda row: row["difference"])
        worst = max(row["p_holm"] for row in family)
        text = f"{_scored(candidate)} is better than every other method: the nearest, {nearest['against']}, is behind by "
        text += f"{_gap(nearest)}, and the largest Holm-corrected p is {worst:.2g}"
    elif basis == "cost" and candidate is not best:
        text = (
            f"{_scored(candidate)} is the cheapest method within {epsilon:g} of the best, {_scored(best)}: "
        )
        text += f"the difference is {_gap(rows[best.method])}"
        text += ", and every cheaper method is significantly worse" if cheaper else ""
    elif basis == "cost":
        ties = ", ".join(row["against"] for row in family if row["tie"])
        text = f"{_scored(candidate)} has the highest test mean"
        text += (
            " and every cheaper method is significantly worse" if cheaper else ", and no method is cheaper"
        )
        text += f"; no difference in score is shown to {ties}" if ties else ""
    elif unbeaten:
        row = rows[unbeaten[0].method]
        text = f"{_scored(candidate)} is the candidate, but it is not shown to be better than the cheaper "
        text += (
            f"{_scored(unbeaten[0])}: the difference is {_gap(row)}, Holm-corrected p = {row['p_holm']:.2g}"
        )
    else:
        text = f"{_scored(candidate)} is the candidate, but cheaper methods were not tested: {', '.join(untested)}"
    if any(row["covers"] == SEEDS for row in family):
        text += " (intervals cover new seeds only, not new test examples)"
    return text + "."


def _scored(contender: Contender) -> str:
    """The method with its score and price."""
    known = not math.isinf(contender.parameters)
    price = f"{contender.parameters:,.0f}" if known else "an unknown number of"
    return f"{contender.method} (test {contender.mean:.3f}, {price} deployed parameters)"


def _gap(row: Comparison) -> str:
    return f"{row['difference']:+.3f} (95 % interval {row['ci_low']:+.3f} to {row['ci_high']:+.3f})"
