"""The Prompt Tuning Playbook's claims, held against a study.

The playbook is a text that describes and compares these methods on one example; guides.py has its two guides. Every answer is
computed from result rows: "holds", "does not hold", "not shown" (measured, and undecided) or "not measured". A claim
about speed needs finalists measured alone on one device. A claim about scores is decided by the interval of the
difference between test scores, or, for where a prompt stands, between trials of the search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboards.findings import words
from dashboards.findings.pairs import outcome
from dashboards.findings.preferences import chosen_finalist, devices, probed
from dashboards.findings.statistics import Sample, difference
from dashboards.findings.verdict import Contender, compare, contenders
from dashboards.rows import Rows, finite

HOLDS, FAILS, OPEN, MISSING = "holds", "does not hold", "not shown", "not measured"
ANSWERS = {"better": HOLDS, "worse": FAILS, "equal": FAILS, "not shown": OPEN, "not measured": MISSING}

INPUT, DEEP = ("prompt_tuning", "p_tuning"), ("prefix_tuning", "p_tuning_v2")
PREFIX_SHARE, SHARE_TOKENS, SHARE_SLACK = 0.0007, 10, 0.00005
"""46,080 of DistilBERT's 66,955,010 parameters are 0.07 %, with ten virtual tokens at each of its six layers."""
STEP_RATIO, STEP_SLACK = 0.41, 0.1
"""Prompt tuning's step takes "about 41 %" of prefix tuning's; within ten points of it the claim holds."""

Claim = dict[str, str]


def claims(rows: Rows) -> list[Claim]:
    """Each `claim`, its `answer`, and the `measurement` in words."""
    found = [
        ("Prefix tuning trains 0.07 % of DistilBERT's parameters (10 virtual tokens)", _prefix_share(rows)),
        ("A step of prompt tuning takes about 41 % of one of prefix tuning", _step_ratio(rows)),
        ("Prompts at every layer beat prompts at the input", _deep(rows)),
        ("In front of the text is the best place for a prompt", _placement(rows)),
        ("A prompt pool adapts to each input", _adapts(rows)),
        ("A pool that tasks share costs fewer parameters than a pool for each", _sharing(rows)),
    ]
    return [
        {"claim": claim, "measurement": measurement, "answer": answer}
        for claim, (answer, measurement) in found
    ]


def _prefix_share(rows: Rows) -> tuple[str, str]:
    finalist = chosen_finalist(rows, "prefix_tuning")
    if finalist is None or finalist["deployed_parameters"] is None:
        return MISSING, "no finalist of prefix_tuning"
    tokens, tasks = finalist["config"].get("num_virtual_tokens"), max(len(rows["tasks"]), 1)
    if not isinstance(tokens, int):
        return MISSING, "the finalist of prefix_tuning has no num_virtual_tokens"
    backbone = rows["backbone"]
    share = finalist["deployed_parameters"] / tasks / tokens * SHARE_TOKENS / backbone["parameters"]
    text = f"{finalist['deployed_parameters']:,} parameters with {tokens} virtual tokens in {tasks} task{'s' if tasks > 1 else ''}: per task, "
    text += f"{SHARE_TOKENS} tokens are {100 * share:.3f} % of {backbone['name']}"
    if "distilbert" not in backbone["name"].lower():
        return MISSING, f"{text}, which is not DistilBERT"
    return HOLDS if abs(share - PREFIX_SHARE) <= SHARE_SLACK else FAILS, text


def _step_ratio(rows: Rows) -> tuple[str, str]:
    prompt, prefix = (probed(rows, name, "train_step_seconds") for name in ("prompt_tuning", "prefix_tuning"))
    if not prompt or not prefix:
        return MISSING, "needs finalists of prompt_tuning and prefix_tuning that were measured alone"
    if len(devices(rows)) > 1:
        return MISSING, f"measured on different devices: {', '.join(devices(rows))}"
    ratio = prompt / prefix
    sizes = [_tokens(rows, name) for name in ("prompt_tuning", "prefix_tuning")]
    text = f"{prompt:.3g} s ({sizes[0]}) against {prefix:.3g} s ({sizes[1]}): {100 * ratio:.0f} %"
    return HOLDS if abs(ratio - STEP_RATIO) <= STEP_SLACK else FAILS, text


def _deep(rows: Rows) -> tuple[str, str]:
    """Takes the best of each side by validation. The test chooses nothing."""
    tested = {c.method: c for c in contenders(rows)}
    deep, shallow = (_best_by_validation(rows, tested, names) for names in (DEEP, INPUT))
    if deep is None or shallow is None:
        return MISSING, "needs a tested finalist of each kind"
    (row,) = compare(deep, [shallow], rows["epsilon"], corrected=False)
    return ANSWERS[
        outcome(row, rows["epsilon"])
    ], f"{deep.method} minus {shallow.method}: {words.difference(row)}"


def _placement(rows: Rows) -> tuple[str, str]:
    """Trials with `placement: before` against the others; all methods must agree."""
    parts, answers = [], []
    for method in rows["methods"]:
        name = method["method"]
        complete = [t for t in rows["trials"] if t["method"] == name and t["state"] == "COMPLETE"]
        scores: dict[bool, list[float]] = {True: [], False: []}
        for trial in complete:
            place, score = trial["config"].get("placement"), trial["validation"]
            if place is not None and finite(score):
                scores[place == "before"].append(score)
        if min(len(side) for side in scores.values()) < 2:
            continue
        front, elsewhere = (Sample(np.array(scores[side])) for side in (True, False))
        found = difference(front, elsewhere)
        row = {**vars(found), "difference": found.mean, "p_holm": None}
        answers.append(ANSWERS[outcome(row, rows["epsilon"])])
        parts.append(
            f"{name}, {len(front.values)} before, {len(elsewhere.values)} elsewhere: {words.difference(row)}"
        )
    if not parts:
        return MISSING, "no method has two complete trials with the prompt in front and two without"
    agreed = answers[0] if len(set(answers)) == 1 else FAILS if FAILS in answers else OPEN
    return agreed, "mean validation of trials, whose other hyperparameters differ too; " + "; ".join(parts)


def _adapts(rows: Rows) -> tuple[str, str]:
    """Counts the prompts in use. Rows that all took the same would use `top_k` of each task's pool."""
    finalist = chosen_finalist(rows, "prompt_pool")
    runs = [run.get("metrics") or {} for run in finalist["runs"]] if finalist else []
    used = [metrics["pool_used"] for metrics in runs if metrics.get("pool_used") is not None]
    if finalist is None or not used:
        return MISSING, "no finalist of prompt_pool says which prompts its rows took"
    config = finalist["config"]
    size, top_k = config.get("pool_size"), config.get("top_k")
    if config.get("selection") != "top_k" or not isinstance(size, int) or not isinstance(top_k, int):
        return MISSING, "its finalist mixes all prompts instead of picking some"
    taken, alike = float(np.mean(used)) * size, min(top_k * max(len(rows["tasks"]), 1), size)
    text = f"{taken:.1f} of {size} prompts are in use; if every row of a task took the same {top_k}, at most {alike} would be"
    return (HOLDS if taken > alike else OPEN if alike == size else FAILS), text


def _sharing(rows: Rows) -> tuple[str, str]:
    if len(rows["tasks"]) < 2:
        return MISSING, "the study has one task"
    sizes: dict[str, float] = {}
    texts = []
    for name in ("multitask", "prompt_pool"):
        finalist = chosen_finalist(rows, name)
        deployed = finalist["deployed_parameters"] if finalist else None
        pool, tokens = (
            (finalist["config"] if finalist else {}).get(k) for k in ("pool_size", "num_virtual_tokens")
        )
        if deployed is None or not isinstance(pool, int) or not isinstance(tokens, int):
            return MISSING, "needs finalists of multitask and prompt_pool"
        sizes[name] = deployed / (pool * tokens)
        texts.append(
            f"{name} {deployed:,} for {pool} prompts of {tokens} tokens, {sizes[name]:,.0f} per token"
        )
    return HOLDS if sizes["multitask"] < sizes["prompt_pool"] else FAILS, "; ".join(texts)


def _best_by_validation(rows: Rows, tested: dict[str, Contender], names: Sequence[str]) -> Contender | None:
    means = {}
    for name in names:
        finalist = chosen_finalist(rows, name)
        scores = (
            [r["validation"] for r in finalist["runs"] if r["validation"] is not None] if finalist else []
        )
        if name in tested and scores:
            means[name] = float(np.mean(scores))
    return tested[max(means, key=lambda name: means[name])] if means else None


def _tokens(rows: Rows, name: str) -> str:
    finalist = chosen_finalist(rows, name)
    tokens = finalist["config"].get("num_virtual_tokens") if finalist else None
    return f"{name}, {tokens} virtual tokens" if tokens is not None else name
