"""Which method to use: the verdict of a study, from test scores.

1. Compared are the methods whose chosen finalist finished every seed and was tested with each.
2. The best one has the highest test mean.
3. The recommended one has the fewest deployed parameters (heads are not counted) among the methods whose paired
   interval against the best stays within epsilon: its lower end is at least -epsilon. The best itself qualifies.
4. The decision is `best` only if the recommended method is significantly better than every cheaper one; p values are
   Holm-corrected over its comparisons with every other method. Otherwise it is `tied`.
5. The basis is `score` if it is significantly better than all the others too, `cost` if not: then it is the cheapest
   that is good enough, and no difference in score to a more expensive method is claimed.

A cheaper method of the study that could not be compared counts as not beaten. A method alone is not the best of anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dashboards.findings import words
from dashboards.findings.statistics import SEEDS, Estimate, Sample, difference, holm
from dashboards.rows import STATES, Finalist, Rows, Scalar, State, finite

ALPHA = 0.05
"""Level of the tests, and 1 - level of the intervals."""

FEW_SEEDS = 3
"""With so many seeds or fewer an interval is rough: t has few degrees of freedom."""

Comparison = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What the report says first; docs/report.md has the fields."""

    decision: Literal["best", "tied", "none"]
    reason: str
    epsilon: float
    basis: Literal["score", "cost"] | None = None
    method: str | None = None
    config: dict[str, Scalar] | None = None
    best: str | None = None
    comparisons: list[Comparison] = field(default_factory=list)


@dataclass(frozen=True)
class Contender:
    """A method that can be compared: all its seeds were tested."""

    method: str
    config: dict[str, Scalar]
    parameters: float
    sample: Sample

    @property
    def mean(self) -> float:
        """The test mean over seeds."""
        return float(self.sample.values.mean())


def tested_sample(finalist: Finalist, tasks: list[str]) -> Sample | None:
    """The test scores of a finalist's finished runs. None if one has none."""
    runs = [run for run in finalist["runs"] if run["state"] == "COMPLETE"]
    values = [run["test"] for run in runs]
    if not finalist["chosen"] or not values or not all(finite(value) for value in values):
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
    recommended = next(c for c in found if c is best or _within(difference(c.sample, best.sample), epsilon))
    others = [c for c in found if c is not recommended]
    family = compare(recommended, others, epsilon, corrected=True)
    rest = [] if best is recommended else [c for c in others if c is not best]
    comparisons = family + compare(best, rest, epsilon, corrected=False)
    beaten = {row["against"] for row in family if row["difference"] > 0 and row["tie"] is False}
    unbeaten = [c for c in others if c.parameters < recommended.parameters and c.method not in beaten]
    untested = _cheaper_untested(rows, recommended, {c.method for c in found})
    measured = all(row["p_value"] is not None for row in family)

    basis: Literal["score", "cost"] | None = None
    if others and measured and not unbeaten and not untested:
        basis = "score" if len(beaten) == len(others) else "cost"
    reason = _reason(recommended, best, basis, family, unbeaten, untested, epsilon)
    return Verdict(
        decision="best" if basis else "tied",
        reason=reason,
        epsilon=epsilon,
        basis=basis,
        method=recommended.method,
        config=recommended.config,
        best=best.method,
        comparisons=comparisons,
    )


def _within(estimate: Estimate, epsilon: float) -> bool:
    return estimate.ci_low is not None and estimate.ci_low >= -epsilon


def compare(one: Contender, others: list[Contender], epsilon: float, corrected: bool) -> list[Comparison]:
    """`one` minus each other; Holm's correction is over all of them."""
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


def _cheaper_untested(rows: Rows, recommended: Contender, tested: set[str]) -> list[str]:
    """Methods that were not compared and are known to be cheaper."""
    costs: dict[str, list[int]] = {}
    for row in (*rows["trials"], *rows["finalists"]):
        if row["deployed_parameters"] is not None:
            costs.setdefault(row["method"], []).append(row["deployed_parameters"])
    names = [method["method"] for method in rows["methods"] if method["method"] not in tested]
    # A method that searches its length is cheaper only if all it found is.
    return [name for name in names if name in costs and max(costs[name]) < recommended.parameters]


def _nothing_tested(rows: Rows) -> str:
    """Why there is no recommendation yet, with the numbers of trials."""
    opening = "No method can be recommended yet: "
    states = [trial["state"] for trial in rows["trials"]]
    if not states:
        return f"{opening}no trial has run."
    complete = states.count("COMPLETE")
    text = f"{opening}{complete} of {len(states)} trials {'is' if complete == 1 else 'are'} complete"
    others: tuple[State, ...] = ("PRUNED", "FAIL")
    for state in others:
        text += f", {states.count(state)} {STATES[state]}" if state in states else ""
    if not rows["finalists"]:
        return f"{text}; no configuration has been retrained for the test."
    runs = [run["state"] for finalist in rows["finalists"] for run in finalist["runs"]]
    text += "; no finalist has been tested with all its seeds"
    return f"{text} ({runs.count('FAIL')} of {len(runs)} runs failed)." if "FAIL" in runs else f"{text}."


def _reason(
    recommended: Contender,
    best: Contender,
    basis: str | None,
    family: list[Comparison],
    unbeaten: list[Contender],
    untested: list[str],
    epsilon: float,
) -> str:
    """One sentence with the numbers that decided."""
    rows, opening = {row["against"]: row for row in family}, _scored(recommended)
    if not family:
        text = f"Only {opening} was tested, so there is nothing to compare it with"
    elif any(row["p_value"] is None for row in family):
        text = f"{opening} is recommended, but one seed cannot show a difference"
    elif basis == "score":
        nearest = min(family, key=lambda row: row["difference"])
        largest = max(row["p_holm"] for row in family)
        text = f"{opening} is better than every other method: the nearest, {nearest['against']}, "
        text += words.scores(nearest, turned=True)
        text += f", and the largest Holm-corrected p is {largest:.2g}"
    elif basis == "cost":
        text = opening + _cheapest(recommended, best, family, epsilon)
    elif unbeaten:
        row = rows[unbeaten[0].method]
        text = f"{opening} is recommended, but it is not shown to be better than the cheaper "
        text += f"{_scored(unbeaten[0])}, which {words.scores(row, turned=True)}"
        text += f", Holm-corrected p = {row['p_holm']:.2g}"
    else:
        text = f"{opening} is recommended, but cheaper methods were not tested: {', '.join(untested)}"
    if any(row["covers"] == SEEDS for row in family):
        text += " (intervals cover new seeds only, not new test examples)"
    return text + "."


def _cheapest(recommended: Contender, best: Contender, family: list[Comparison], epsilon: float) -> str:
    """Why the cheapest that is good enough was taken."""
    beats_cheaper = any(row["tie"] is False and row["difference"] > 0 for row in family)
    if recommended is not best:
        row = next(row for row in family if row["against"] == best.method)
        text = f" is the cheapest method that is at most {epsilon:g} below the best, {_scored(best)}: "
        text += f"it {words.scores(row)}"
        return text + (", and every cheaper method is significantly worse" if beats_cheaper else "")
    ties = ", ".join(row["against"] for row in family if row["tie"])
    text = " has the highest test mean"
    text += (
        " and every cheaper method is significantly worse" if beats_cheaper else ", and no method is cheaper"
    )
    return text + (f"; no difference in score is shown to {ties}" if ties else "")


def _scored(contender: Contender) -> str:
    """The method with its score and price."""
    known = not math.isinf(contender.parameters)
    price = f"{contender.parameters:,.0f}" if known else "an unknown number of"
    return f"{contender.method} (test {contender.mean:.3f}, {price} deployed parameters)"
