"""Which method to use: the verdict of a study, from test scores.

Everything that is said of a study's answer comes from one object, the contest: the methods that learned something, and which of them
could be the best (dashboards/statistics/standing.py). The decision is

    best              one method could be the best, and it is shown to be better than each of the others;
    tied              several could be; recommended is the cheapest of them whose shortfall against the leader is within one
                      standard error of the leader's score (Breiman's rule), and what it may lose is said;
    nothing learned   no method is shown to beat the trivial answer;
    none              nothing was tested.

A verdict is provisional where its evidence is poor in a way that matters to the pick (provisional.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from dashboards.findings import words
from dashboards.findings.contest import TOO_LARGE, Contender, Contest
from dashboards.findings.more_seeds import would_decide
from dashboards.findings.provisional import Finding, findings, longer, trivial_answer
from dashboards.findings.stability import stability
from dashboards.rows import STATES, Rows, Scalar, State
from dashboards.statistics import chosen
from dashboards.statistics.joint import SEEDS
from dashboards.statistics.standing import Pair

Decision = Literal["best", "tied", "nothing learned", "none"]
Outcome = Literal["better", "worse", "equal", "not shown", "not measured"]
Comparison = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What the report says first; docs/report.md has the fields."""

    decision: Decision
    reason: str
    epsilon: float
    method: str | None = None
    config: dict[str, Scalar] | None = None
    could_be_best: list[str] = field(default_factory=list)
    leader: str | None = None
    provisional: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mends: list[str] = field(default_factory=list)
    score: dict[str, float | None] | None = None
    may_lose: dict[str, Any] | None = None
    stability: float | None = None
    decides: dict[str, Any] | None = None
    every_method: bool = False


def decide(found: Contest) -> Verdict:
    """The verdict of a study."""
    epsilon, rows = found.rows["epsilon"], found.rows
    if not found.contenders:
        reasons, notes = findings(found) if found.unlearned else ([], [])
        return Verdict(
            "nothing learned" if found.unlearned else "none",
            _nothing_learned(found) if found.unlearned else _nothing_tested(found),
            epsilon,
            provisional=[each.text for each in reasons],
            notes=[each.text for each in notes],
            mends=_mends([*reasons, Finding("", longer(rows))]) if found.unlearned else [],
        )
    recommended, leader = found.contenders[found.recommended], found.leader
    reasons, notes = findings(found)
    best = found.standing.best
    return Verdict(
        decision="best" if best else "tied",
        reason=_best(found) if best else _tied(found),
        epsilon=epsilon,
        method=recommended.method,
        config=recommended.config,
        could_be_best=[found.contenders[index].method for index in found.standing.members],
        leader=leader.method,
        provisional=[each.text for each in reasons],
        notes=[each.text for each in notes],
        mends=_mends(reasons),
        score=_score(found),
        may_lose=None if recommended is leader else _may_lose(found),
        stability=stability(found),
        decides=would_decide(found),
        every_method=found.whole,
    )


def comparisons(found: Contest) -> list[Comparison]:
    """Every pair of contenders once: the better one first, the largest difference first.

    `p_value` is that of the claim that is made of the pair, and the interval excludes 0 exactly where `outcome` is better
    or worse. `claim`: "best", part of "better than every other"; "any", corrected over all pairs.
    """
    if not found.contenders:
        return []
    names = [each.method for each in found.contenders]
    rows = []
    for pair in found.standing.pairs:
        turned = pair.turned if pair.estimate.mean < 0 else pair
        rows.append(_row(names[turned.one], names[turned.other], turned, found.rows["epsilon"]))
    return sorted(rows, key=lambda row: -row["difference"])


def against(found: Contest, method: str, other: str) -> Comparison | None:
    """`method` minus `other`, as in `comparisons`; None if one is no contender."""
    pair = found.pair(method, other)
    return None if pair is None else _row(method, other, pair, found.rows["epsilon"])


def _row(method: str, other: str, pair: Pair, epsilon: float) -> Comparison:
    found = pair.estimate
    return {
        "method": method,
        "against": other,
        "difference": found.mean,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "p_value": found.p_value,
        "claim": pair.claim,
        "covers": found.covers,
        "outcome": outcome(pair, epsilon),
    }


def outcome(pair: Pair, epsilon: float) -> Outcome:
    """What a pair shows of its first method: a difference, or that the whole interval is within epsilon of 0 ("equal")."""
    low, high = pair.estimate.ci_low, pair.estimate.ci_high
    if low is None or high is None:
        return "not measured"
    if pair.shown:
        return "better" if pair.estimate.mean > 0 else "worse"
    return "equal" if -epsilon <= low and high <= epsilon and pair.estimate.covers != SEEDS else "not shown"


def _score(found: Contest) -> dict[str, float | None]:
    """The recommended method's test score, corrected for its choice, with the mean that was found (`raw`)."""
    estimate = found.within(chosen.corrected(found.joint, found.recommended))
    raw = found.contenders[found.recommended].mean
    return {"mean": estimate.mean, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high, "raw": raw}


def _may_lose(found: Contest) -> dict[str, Any]:
    """What the recommended configuration may lose to the leader's: the upper end of the 95 % interval of that difference alone."""
    estimate = found.configurations.difference(found.standing.leader, found.recommended)
    return {"against": found.leader.method, "difference": estimate.mean, "at_most": estimate.ci_high}


def _best(found: Contest) -> str:
    leader = found.leader.method
    names = [each.method for each in found.contenders if each.method != leader]
    others = [row for name in names if (row := against(found, leader, name))]
    nearest = min(others, key=lambda row: row["difference"])
    text = f"{leader} is better than {others_named(found)}: "
    text += "it" if len(others) == 1 else f"the nearest, {nearest['against']},"
    return f"{text} scores {_less(nearest, len(others) == 1)}, {words.p_value(max(row['p_value'] for row in others))}."


def others_named(found: Contest) -> str:
    """The contenders that the leader is compared with."""
    count = len(found.contenders) - 1
    if count == 1:
        return next(each.method for each in found.contenders if each is not found.leader)
    return "every other method" if found.whole else f"the {count} others that could be compared"


def _less(row: Comparison, more: bool) -> str:
    gap, interval = words.score(abs(row["difference"]), words.error_of(row)), words.interval(row)
    said = f"{gap} {'more' if more else 'less'}"
    return f"{said} (95 % interval {interval})" if interval else said


def _tied(found: Contest) -> str:
    recommended, leader = found.contenders[found.recommended], found.leader
    members = [found.contenders[index] for index in found.standing.members]
    if len(found.contenders) == 1:
        alone = "was tested" if not found.unlearned else "learned something"
        return f"Only {recommended.method} {alone}, so there is nothing to compare it with."
    text = f"{words.listed([each.method for each in members])} {_alike(found, members)}"
    unmeasured = (
        found.joint.difference(found.recommended, (found.recommended + 1) % len(found.contenders)).error
        is None
    )
    if unmeasured:
        return f"{text}: one seed shows no difference."
    if found.cheapest:
        text += f"; {recommended.method} is the cheapest of them"
    elif recommended is leader:
        text += f"; {recommended.method} has the highest mean, and no cheaper one is within a standard error of it"
    else:
        text += f"; {recommended.method} is the cheapest within a standard error of the highest mean"
    lose = None if recommended is leader else _may_lose(found)
    if lose and lose["at_most"] is not None:
        text += f", and loses at most {words.score(max(lose['at_most'], 0.0), precision(found))} to {lose['against']} (95 %)"
    if found.joint.covers == SEEDS:
        text += ". The metric has no scores per example: intervals cover new seeds only, and no difference is claimed from them"
    return f"{text}."


def _alike(found: Contest, members: list[Contender]) -> str:
    """That methods cannot be told apart, or are shown to be equal."""
    names = [each.method for each in members]
    pairs = [against(found, one, other) for one in names for other in names if one < other]
    if pairs and all(pair and pair["outcome"] == "equal" for pair in pairs):
        return f"are equal within {found.rows['epsilon']:g}"
    low, high = span(found)
    return f"cannot be told apart ({low} to {high})" if low != high else f"cannot be told apart (all {low})"


def span(found: Contest) -> tuple[str, str]:
    """The lowest and the highest mean of those that could be the best."""
    means = [found.contenders[index].mean for index in found.standing.members]
    return words.score(min(means), precision(found)), words.score(max(means), precision(found))


def precision(found: Contest) -> float | None:
    """The error by which scores are rounded in sentences: that of the recommended method."""
    return found.joint.mean(found.recommended).error


def _nothing_learned(found: Contest) -> str:
    trivial = found.rows.get("trivial")
    assert trivial is not None, "without a trivial answer every method counts as one that learned"
    best, alone = max(found.unlearned, key=lambda each: each.mean), len(found.unlearned) == 1
    who = f"{best.method} is not" if alone else f"None of the {len(found.unlearned)} tested methods is"
    it = "it" if alone else f"the best of them, {best.method},"
    text = f"{who} shown to have learned anything: {it} scores {words.score(best.mean)}"
    return f"{text}, and {trivial_answer(found.rows)} scores {words.score(trivial['test'])}."


def _nothing_tested(found: Contest) -> str:
    """Why there is no recommendation yet, with the numbers of trials."""
    opening, rows = "No method can be recommended yet: ", found.rows
    states = [trial["state"] for trial in rows["trials"]]
    if not states:
        return f"{opening}no trial has run."
    complete = states.count("COMPLETE")
    text = f"{opening}{complete} of {_planned(found.rows)} trials {'is' if complete == 1 else 'are'} complete"
    others: tuple[State, ...] = ("PRUNED", "FAIL")
    for state in others:
        text += f", {states.count(state)} {STATES[state]}" if state in states else ""
    if not rows["finalists"]:
        return f"{text}; no configuration has been retrained for the test."
    if TOO_LARGE in found.untested.values():
        return f"{text}; each tested method {TOO_LARGE}."
    runs = [run["state"] for finalist in rows["finalists"] for run in finalist["runs"]]
    text += "; no finalist has been tested with two seeds"
    return f"{text} ({runs.count('FAIL')} of {len(runs)} runs failed)." if "FAIL" in runs else f"{text}."


def _planned(rows: Rows) -> int:
    """How many trials the search has, or will have as far as it is known."""
    begun = Counter(trial["method"] for trial in rows["trials"])
    return sum(
        begun[each["method"]]
        if each.get("ended_early")
        else max(begun[each["method"]], each.get("budget", 0))
        for each in rows["methods"]
    )


def _mends(reasons: list[Finding]) -> list[str]:
    """The settings that mend the reasons. One setting is given once, with its largest value."""
    found: dict[str, str] = {}
    for each in reasons:
        name, _, value = each.mends.partition("=")
        before = found.get(name, "")
        if name and (not before or (value.isdigit() and before.isdigit() and int(value) > int(before))):
            found[name] = value
    return [f"{name}={value}" for name, value in found.items()]
