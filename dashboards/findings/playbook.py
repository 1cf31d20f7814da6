"""The Prompt Tuning Playbook's claims, held against a study.

The playbook is a text that describes and compares these methods on one example; guides.py has its two guides. Every answer is
computed from result rows: "holds", "does not hold", "not shown" (measured, and undecided) or "not measured". A claim
about speed needs finalists measured alone on one device, and is of one measurement.

A claim about scores needs a difference that is shown. A report has at most `CLAIMS` of them, here and in guides.py, and each is
tested at 5 % / `CLAIMS`: so of reports in which nothing is true less than 5 % have one (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from dashboards.findings import words
from dashboards.findings.contest import Contest
from dashboards.findings.preferences import chosen_finalist, devices, probed
from dashboards.rows import Rows, finite
from dashboards.statistics.joint import BOTH, Estimate
from dashboards.statistics.looks import ALPHA
from dashboards.statistics.sample import FloatArray

HOLDS, FAILS, OPEN, MISSING = "holds", "does not hold", "not shown", "not measured"

CLAIMS = 7
"""Prompts at every layer, the place in front, and the five rules of the decision list."""

INPUT, DEEP = ("prompt_tuning", "p_tuning"), ("prefix_tuning", "p_tuning_v2")
PREFIX_SHARE, SHARE_TOKENS, SHARE_SLACK = 0.0007, 10, 0.00005
"""46,080 of DistilBERT's 66,955,010 parameters are 0.07 %, with ten virtual tokens at each of its six layers."""
STEP_RATIO, STEP_SLACK = 0.41, 0.1
"""Prompt tuning's step takes "about 41 %" of prefix tuning's; within ten points of it the claim holds."""

BLIND = 10
"""TPE draws so many trials blindly, or a third of its budget if that is less."""
PERMUTATIONS = 10_000

Claim = dict[str, str]


def claims(found: Contest) -> list[Claim]:
    """Each `claim`, its `answer`, and the `measurement` in words."""
    rows = found.rows
    answers = [
        ("Prefix tuning trains 0.07 % of DistilBERT's parameters (10 virtual tokens)", _prefix_share(rows)),
        ("A step of prompt tuning takes about 41 % of one of prefix tuning", _step_ratio(rows)),
        ("Prompts at every layer beat prompts at the input", _deep(found)),
        ("In front of the text is the best place for a prompt", _placement(rows)),
        ("A prompt pool adapts to each input", _adapts(rows)),
        ("A pool that tasks share costs fewer parameters than a pool for each", _sharing(rows)),
    ]
    return [
        {"claim": claim, "measurement": measurement, "answer": answer}
        for claim, (answer, measurement) in answers
    ]


def answer(estimate: Estimate, epsilon: float) -> str:
    """What a difference shows, as one of `CLAIMS`: that its first side is better, or that it is not."""
    interval = estimate.interval(1 - ALPHA / CLAIMS)
    if interval is None:
        return MISSING
    low, high = interval
    if estimate.covers != BOTH or (low <= 0 <= high and not (-epsilon <= low and high <= epsilon)):
        return OPEN
    return HOLDS if low > 0 else FAILS


def measured(estimate: Estimate) -> str:
    """A difference with its 95 % interval, for this difference alone."""
    return words.difference(
        {"difference": estimate.mean, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high}
    )


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
    text = (
        f"{prompt:.3g} s ({sizes[0]}) against {prefix:.3g} s ({sizes[1]}): {100 * ratio:.0f} %, measured once"
    )
    return HOLDS if abs(ratio - STEP_RATIO) <= STEP_SLACK else FAILS, text


def _deep(found: Contest) -> tuple[str, str]:
    """Takes the best of each side by validation. The test chooses nothing."""
    deep, shallow = (_best_by_validation(found, names) for names in (DEEP, INPUT))
    if deep is None or shallow is None:
        return MISSING, "needs a tested finalist of each kind"
    estimate = found.joint.difference(deep, shallow)
    names = (found.contenders[deep].method, found.contenders[shallow].method)
    return answer(estimate, found.rows["epsilon"]), f"{names[0]} minus {names[1]}: {measured(estimate)}"


def _placement(rows: Rows) -> tuple[str, str]:
    """Trials with `placement: before` against the others of their method.

    Used are trials that the sampler drew without looking at others: a sampler that learns draws more of what was good by luck,
    and the others of its hyperparameters get better as it goes on.
    """
    strata, parts = [], []
    for method in rows["methods"]:
        scores = _by_place(rows, method["method"])
        if min(len(side) for side in scores) < 2:
            continue
        strata.append(scores)
        gap = float(np.mean(scores[0]) - np.mean(scores[1]))
        sides = f"{len(scores[0])} before, {len(scores[1])} elsewhere"
        parts.append(f"{method['method']}, {sides}: {words.signed(gap)}")
    if not strata:
        return (
            MISSING,
            "no method has two trials that were drawn blindly with the prompt in front, and two without",
        )
    above, p_value = rank_test(strata)
    said = OPEN if p_value >= ALPHA / CLAIMS else HOLDS if above else FAILS
    text = "mean validation of trials, whose other hyperparameters differ too; " + "; ".join(parts)
    return said, f"{text} (permutation of ranks within methods, {words.p_value(p_value)})"


def _by_place(rows: Rows, name: str) -> tuple[list[float], list[float]]:
    """Validation of a method's blindly drawn trials, with the prompt in front and elsewhere."""
    scores: tuple[list[float], list[float]] = ([], [])
    for trial in rows["trials"]:
        place = trial["config"].get("placement")
        last = trial["validation"] if trial["state"] in ("COMPLETE", "PRUNED") else None
        if trial["method"] == name and place is not None and finite(last) and _blind(rows, trial["number"]):
            scores[place != "before"].append(last)
    return scores


def _blind(rows: Rows, number: int) -> bool:
    """Whether a trial's configuration was drawn without looking at other trials. The default, trial 0, was not drawn."""
    search = rows.get("search")
    if search is None or search["sampler"] in ("random", "grid"):
        return number > 0
    return 0 < number < min(BLIND, search["trials_per_method"] // 3)


def rank_test(strata: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[bool, float]:
    """Whether the first sides are above the second, and the two-sided p of a permutation test of ranks.

    Ranks are taken and permuted within each stratum; a stratum of n counts 1 / (n + 1) (van Elteren, 1960).
    """
    rng, total, drawn = np.random.default_rng(0), 0.0, np.zeros(PERMUTATIONS)
    for first, second in strata:
        ranks = stats.rankdata([*first, *second]) / (len(first) + len(second) + 1) - 0.5
        total += float(ranks[: len(first)].sum()) / (len(ranks) + 1)
        shuffled: FloatArray = rng.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)
        drawn += shuffled[:, : len(first)].sum(axis=1) / (len(ranks) + 1)
    as_large = int((np.abs(drawn) >= abs(total) - 1e-12).sum())
    return total > 0, (as_large + 1) / (PERMUTATIONS + 1)


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


def _best_by_validation(found: Contest, names: Sequence[str]) -> int | None:
    """The place of the contender with the highest validation among these methods."""
    means = {}
    for index, contender in enumerate(found.contenders):
        finalist = chosen_finalist(found.rows, contender.method)
        scores = (
            [r["validation"] for r in finalist["runs"] if r["validation"] is not None] if finalist else []
        )
        if contender.method in names and scores:
            means[index] = float(np.mean(scores))
    return max(means, key=lambda index: means[index]) if means else None


def _tokens(rows: Rows, name: str) -> str:
    finalist = chosen_finalist(rows, name)
    tokens = finalist["config"].get("num_virtual_tokens") if finalist else None
    return f"{name}, {tokens} virtual tokens" if tokens is not None else name
