"""What the answer stands on: why a verdict is provisional, and what else should be known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from dashboards.findings import words
from dashboards.findings.contest import Contest
from dashboards.findings.effort import best_trial, edges
from dashboards.rows import Rows, finite

ENOUGH_TRIALS, ENOUGH_SEEDS = 4, 3
NEAR = 5
"""A method that is further below the best than so many times epsilon would not be the best beyond an end of its range."""
QUARTERS = 4
"""Of the steps: after as many steps again, a method has gained at most so many times what it gained in the last quarter."""
LOST_SHARE = 0.25
"""From this share of lost trials on, a method's search is no search that its budget promises."""


class Finding(NamedTuple):
    """Something that is wrong with the evidence, and the settings that mend it (as for `--set`)."""

    text: str
    mends: str = ""


def findings(found: Contest) -> tuple[list[Finding], list[Finding]]:
    """What makes the verdict provisional, and what is good to know besides."""
    reasons: list[Finding] = []
    notes: list[Finding] = []
    _budget(found.rows, reasons)
    _lost(found.rows, reasons, notes)
    _seeds(found, reasons, notes)
    _unlearned(found, reasons, notes)
    _few_trials(found, reasons)
    _rising(found, reasons, notes)
    _edges(found, reasons, notes)
    return reasons, notes


def _budget(rows: Rows, reasons: list[Finding]) -> None:
    if rows["partial"]:
        reasons.append(Finding(f"the study has not ended ({rows['outcome']})"))


def _lost(rows: Rows, reasons: list[Finding], notes: list[Finding]) -> None:
    """Failed trials, and a default that never ran."""
    alike: dict[tuple[int, int, bool], list[str]] = {}
    for method in rows["methods"]:
        name = method["method"]
        mine = [trial for trial in rows["trials"] if trial["method"] == name]
        lost = [trial["number"] for trial in mine if trial["state"] == "FAIL"]
        if lost:
            alike.setdefault((len(lost), len(mine), 0 in lost), []).append(name)
    for (count, of, default), names in alike.items():
        text = f"{count} of {words.count(of, 'search trial')} of {_each(names)} failed"
        text += ", the default among them" if default else ""
        matters = default or count >= LOST_SHARE * of
        (reasons if matters else notes).append(Finding(text, f"search.trials_per_method={of + count}"))


def _seeds(found: Contest, reasons: list[Finding], notes: list[Finding]) -> None:
    """Methods that failed, failed seeds, few seeds, seeds in two groups."""
    for reason in dict.fromkeys(found.untested.values()):
        names = [name for name, other in found.untested.items() if other == reason]
        said = reason if len(names) == 1 else reason.replace("has ", "have ", 1)
        text = f"{words.listed(names)} {said}, so {_it(names)} not in the comparison"
        reasons.append(Finding(text, f"study={another(found.rows)}" if "failed" in reason else ""))
    alike: dict[tuple[int, int], list[str]] = {}
    for each in found.contenders:
        if each.failed_seeds:
            alike.setdefault((each.failed_seeds, each.planned), []).append(each.method)
    for (count, of), names in alike.items():
        text = f"{count} of {words.count(of, 'seed')} of {_each(names)} failed"
        notes.append(Finding(f"{text}, so {_it(names)} compared on the others"))
    fewest = min((len(each.sample.values) for each in found.contenders), default=ENOUGH_SEEDS)
    if fewest < ENOUGH_SEEDS:
        least = [each.method for each in found.contenders if len(each.sample.values) == fewest]
        text = (
            f"{words.listed(least)} {'has' if len(least) == 1 else 'have'} only {words.count(fewest, 'seed')}"
        )
        reasons.append(Finding(text, "finalists.num_seeds=5"))


def _unlearned(found: Contest, reasons: list[Finding], notes: list[Finding]) -> None:
    if not found.unlearned or not found.contenders:  # with no method left, that is the verdict
        return
    names = [each.method for each in found.unlearned]
    text = f"{words.listed(names)} did not learn, since {_it(names)} not shown to beat {trivial_answer(found.rows)}"
    # with one method left, there is nothing to compare
    (reasons if len(found.contenders) == 1 else notes).append(Finding(text, longer(found.rows)))


def trivial_answer(rows: Rows) -> str:
    """What the trivial answer is, in words."""
    trivial = rows.get("trivial")
    answers = " and ".join(dict.fromkeys(trivial["answers"].values())) if trivial else ""
    return f"the trivial answer ({answers})" if answers else "the trivial answer"


def _few_trials(found: Contest, reasons: list[Finding]) -> None:
    few: dict[int, list[str]] = {}
    for method in found.rows["methods"]:
        name = method["method"]
        ended = sum(
            t["method"] == name and t["state"] in ("COMPLETE", "PRUNED") for t in found.rows["trials"]
        )
        whole = not method["space"] or "tried" in (method.get("ended_early") or {})
        if ended < ENOUGH_TRIALS and not whole and any(each.method == name for each in found.contenders):
            few.setdefault(ended, []).append(name)
    for ended, names in sorted(few.items()):
        text = f"{words.listed(names)} {'was' if len(names) == 1 else 'were'} searched with {words.count(ended, 'trial')} each"
        reasons.append(
            Finding(
                text.removesuffix(" each") if len(names) == 1 else text,
                f"search.trials_per_method={2 * ENOUGH_TRIALS}",
            )
        )


def _rising(found: Contest, reasons: list[Finding], notes: list[Finding]) -> None:
    """Curves that still rise: the methods might stand otherwise after more steps.

    Tested is the mean gain of the last quarter of the steps, over all retrained runs: above half of epsilon, and above 0 by a one-sided t
    test at 2.5 %. Where one method is the best, it matters if another could reach it: if its gain, kept up for as many steps again, is as
    large as the lower end of the lead's interval.
    """
    gains = {each.method: _last_gains(found.rows, each.method) for each in found.contenders}
    pooled = [gain for mine in gains.values() for gain in mine]
    if len(pooled) < ENOUGH_TRIALS or float(np.mean(pooled)) <= max(found.rows["epsilon"] / 2, 1e-9):
        return
    error = float(np.std(pooled, ddof=1)) / len(pooled) ** 0.5
    if error > 0 and float(stats.t.sf(np.mean(pooled) / error, len(pooled) - 1)) > 0.025:
        return
    rising = {
        name: float(np.mean(mine))
        for name, mine in gains.items()
        if mine and float(np.mean(mine)) > found.rows["epsilon"] / 2
    }
    matters = not found.standing.best or any(_could_reach(found, *each) for each in rising.items())
    text = f"validation of {words.listed(list(rising))} still rises at the last step"
    (reasons if matters else notes).append(Finding(text, longer(found.rows)))


def _could_reach(found: Contest, method: str, gain: float) -> bool:
    """Whether a method could reach the best one with as many steps again."""
    if method == found.leader.method:
        return False
    lead = found.pair(found.leader.method, method)
    low = None if lead is None else lead.estimate.ci_low
    return low is None or QUARTERS * gain >= low


def _last_gains(rows: Rows, method: str) -> list[float]:
    """Validation at the end minus that at three quarters of the steps, for each retrained run of a method."""
    runs = [run for f in rows["finalists"] if f["method"] == method for run in f["runs"]]
    gains = []
    for run in runs:
        points = [(p["step"], p["validation"]) for p in run.get("curve") or [] if finite(p["validation"])]
        before = [value for step, value in points if step <= 0.75 * points[-1][0]]
        if run["state"] == "COMPLETE" and before:
            gains.append(points[-1][1] - before[-1])
    return gains


def _edges(found: Contest, reasons: list[Finding], notes: list[Finding]) -> None:
    """A best learning rate at the end of its range: a loser might do better beyond it."""
    for each in found.contenders:
        space = next(m["space"] for m in found.rows["methods"] if m["method"] == each.method)
        trial = best_trial([t for t in found.rows["trials"] if t["method"] == each.method])
        at = [
            edge
            for edge in edges(trial["config"] if trial else {}, space)
            if edge["parameter"] == "learning_rate"
        ]
        for edge in at:
            text = f"the best learning rate of {each.method}, {edge['value']:.3g}, is at the {edge['bound']} end of its range"
            near = found.leader.mean - each.mean <= NEAR * found.rows["epsilon"]
            loser = found.standing.best and each is not found.leader and near
            (reasons if loser else notes).append(
                Finding(text, f"methods.{each.method}.learning_rate={_wider(edge)}")
            )


def _wider(edge: dict[str, float]) -> str:
    """A range around the edge."""
    value = float(edge["value"])
    return f"{{min: {value / 10:.2g}, max: {value * 10:.2g}, log: true}}"


def _each(names: Sequence[str]) -> str:
    """a, or each of a, b and c."""
    return names[0] if len(names) == 1 else f"each of {words.listed(names)}"


def _it(names: Sequence[str]) -> str:
    return "it is" if len(names) == 1 else "they are"


def another(rows: Rows) -> str:
    """A name for the study's next version. A launch retries nothing that failed, another study does."""
    name, _, number = rows["study"].rpartition("-")
    if not name or not number.isdecimal():
        name, number = rows["study"], "1"
    suffix = f"-{int(number) + 1}"
    return name[: 80 - len(suffix)] + suffix


def longer(rows: Rows) -> str:
    """The setting that trains twice as long."""
    search = rows.get("search")
    return f"training.max_steps={2 * search['max_steps']}" if search else ""
