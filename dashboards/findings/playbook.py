"""The Prompt Tuning Playbook's claims, held against a study.

The playbook is a text that describes and compares these methods on one example; guides.py has its two guides. Every answer is
computed from result rows: "holds", "does not hold", "not shown" (measured, and undecided) or "not measured". A claim about
counts or about speed is none of statistics; speed needs finalists measured alone on one device, and is measured once.

Whatever is said about scores, here and in guides.py, is one of the `answers`: all are corrected together, so of reports in
which nothing is true less than 5 % say that a claim holds, or that it does not (dashboards/statistics/family.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dashboards.findings import words
from dashboards.findings.contest import Contest
from dashboards.findings.preferences import chosen_finalist, devices, probed
from dashboards.findings.samples import by_worst_task, tested_sample
from dashboards.findings.search_spread import search_spread
from dashboards.rows import Method, Rows, Trial, finite
from dashboards.statistics import ranks
from dashboards.statistics.family import Claims, Question, every, some, told
from dashboards.statistics.joint import Estimate, Joint

HOLDS, FAILS, OPEN, MISSING = "holds", "does not hold", "not shown", "not measured"

INPUT, DEEP = ("prompt_tuning", "p_tuning"), ("prefix_tuning", "p_tuning_v2")
PREFIX_SHARE, SHARE_TOKENS, SHARE_SLACK = 0.0007, 10, 0.00005
"""46,080 of DistilBERT's 66,955,010 parameters are 0.07 %, with ten virtual tokens at each of its six layers."""
STEP_RATIO, STEP_SLACK = 0.41, 0.1
"""Prompt tuning's step takes "about 41 %" of prefix tuning's; within ten points of it the claim holds."""

Claim = dict[str, str]


class Asked(NamedTuple):
    """A question about scores and its `measurement`. Without a question nothing can be shown."""

    measurement: str
    question: Question | None = None
    missing: bool = False


class Answer(NamedTuple):
    """One of the four answers, with the measurement and its corrected p."""

    said: str
    measurement: str


class Field(NamedTuple):
    """What a rule of the decision list compares: some methods of a joint."""

    joint: Joint
    places: dict[str, int]


def claims(found: Contest) -> list[Claim]:
    """Each `claim`, its `answer`, and the `measurement` in words."""
    rows, shown = found.rows, answers(found)
    said = [
        ("Prefix tuning trains 0.07 % of DistilBERT's parameters (10 virtual tokens)", _prefix_share(rows)),
        ("A step of prompt tuning takes about 41 % of one of prefix tuning", _step_ratio(rows)),
        ("Prompts at every layer beat prompts at the input", shown["deep"]),
        ("In front of the text is the best place for a prompt", shown["placement"]),
        ("A prompt pool adapts to each input", _adapts(rows)),
        ("A pool that tasks share costs fewer parameters than a pool for each", _sharing(rows)),
    ]
    return [
        {"claim": claim, "measurement": measurement, "answer": answer}
        for claim, (answer, measurement) in said
    ]


def answers(found: Contest) -> dict[str, Answer]:
    """Every answer of a report about scores; that of a rule has the name of its advice."""
    asked = {"deep": _deep(found), "placement": _placement(found.rows)}
    asked |= {advice: _rule(found, advice, field) for advice, field in fields(found).items()}
    shown = told({name: each.question for name, each in asked.items() if each.question is not None})
    answered = {}
    for name, each in asked.items():
        said, text = MISSING if each.missing else OPEN, each.measurement
        if name in shown:
            said = {True: HOLDS, False: FAILS, None: OPEN}[shown[name].holds]
            text += f" ({words.p_value(shown[name].p_value)}, corrected for all claims about scores)"
        answered[name] = Answer(said, text)
    return answered


def fields(found: Contest) -> dict[str, Field | None]:
    """What each advice is compared with; None where the study has another number of tasks."""
    several = len(found.rows["tasks"]) > 1
    baselines = {method["method"] for method in found.rows["methods"] if method["baseline"]}
    places = {each.method: at for at, each in enumerate(found.contenders) if each.method not in baselines}
    mean = Field(found.joint, places)
    deep = Field(found.joint, {name: at for name, at in places.items() if name in DEEP})
    return {
        "multitask": _by_worst_task(found.rows, list(places)) if several else None,
        "prompt_pool": mean if several else None,
        "p_tuning": None if several else mean,
        "p_tuning_v2": None if several else deep,
        "prefix_tuning": mean,
    }


def _by_worst_task(rows: Rows, names: Sequence[str]) -> Field:
    """The methods, scored with each seed by the task that is its lowest."""
    by_worst = by_worst_task(rows)
    finalists = {name: chosen_finalist(by_worst, name) for name in names}
    found = {name: sample for name, f in finalists.items() if f and (sample := tested_sample(by_worst, f))}
    places = {name: place for place, name in enumerate(found)}
    return Field(Joint(list(found.values()), search_spread(by_worst)), places)


def _rule(found: Contest, advice: str, field: Field | None) -> Asked:
    """Whether an advice is best in its field; p_tuning: the cheapest within epsilon of the best."""
    if field is None or advice not in field.places or len(field.places) < 2:
        return Asked("", missing=True)
    one, others = field.places[advice], [at for name, at in field.places.items() if name != advice]
    asks = Claims(field.joint, found.level)
    if advice == "p_tuning":
        prices = {at: found.contenders[at].price for at in field.places.values()}
        return Asked("", asks.cheapest_near(one, prices, found.rows["epsilon"]))
    return Asked("", asks.highest(one, others))


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
    text = f"{prompt:.3g} s ({sizes[0]}) against {prefix:.3g} s ({sizes[1]}): {100 * ratio:.0f} %, each measured once, so without an error"
    return HOLDS if abs(ratio - STEP_RATIO) <= STEP_SLACK else FAILS, text


def _deep(found: Contest) -> Asked:
    """Takes the best of each side by validation. The test chooses nothing."""
    deep, shallow = (_best_by_validation(found, names) for names in (DEEP, INPUT))
    if deep is None or shallow is None:
        return Asked("needs a tested finalist of each kind that learned", missing=True)
    names = (found.contenders[deep].method, found.contenders[shallow].method)
    epsilon, estimate = found.rows["epsilon"], found.joint.difference(deep, shallow)
    text = f"{names[0]} minus {names[1]}: {measured(estimate)}, where up to {epsilon:g} counts as equal"
    return Asked(text, Claims(found.joint, found.level).better(deep, shallow, epsilon))


def _placement(rows: Rows) -> Asked:
    """Trials with the prompt in front against those of their method with each other place.

    Only trials that were placed blindly count: a sampler that learns places more of them where scores were high by luck, and draws
    better values of the other hyperparameters as it goes on. Trials that were stopped early count with their last score.
    """
    tried = {method["method"]: _by_place(rows, method, blind=False) for method in rows["methods"]}
    if not any("before" in places and len(places) > 1 for places in tried.values()):
        return Asked("no method has trials with the prompt in front, and others", missing=True)
    blind = {method["method"]: _by_place(rows, method, blind=True) for method in rows["methods"]}
    usable = {name: places for name, places in blind.items() if "before" in places and len(places) > 1}
    if not usable:
        return Asked("no method has trials in front and elsewhere that were placed without a look at scores")
    others = sorted({place for places in tried.values() for place in places} - {"before"})
    pairs = [[(p["before"], p[place]) for p in usable.values() if place in p] for place in others]
    above, below = zip(*(ranks.above_and_below(groups) for groups in pairs), strict=True)
    parts = [_wins(name, places) for name, places in usable.items()]
    text = f"validation of trials placed without a look at scores, all else differs too; {'; '.join(parts)}"
    return Asked(text, Question(every(above), (some(below),)))


def _by_place(rows: Rows, method: Method, blind: bool) -> dict[str, list[float]]:
    """Validation of a method's trials by place; `blind`: of those that were placed blindly."""
    where = (method.get("where") or {}).get("placement", {})
    found: dict[str, list[float]] = {}
    for trial in rows["trials"]:
        config, score = trial["config"], trial["validation"]
        used = trial["method"] == method["method"] and trial["state"] in ("COMPLETE", "PRUNED")
        applies = "placement" in config and all(config.get(name) == value for name, value in where.items())
        if used and applies and finite(score) and (_blind(rows, trial) or not blind):
            found.setdefault(str(config["placement"]), []).append(score)
    return found


def _blind(rows: Rows, trial: Trial) -> bool:
    """Whether a trial was drawn without looking at others.

    The default and the trials of an earlier study were not drawn. The samplers start with random trials
    (search/strategy/sampling.py). A grid's are in an order of their own.
    """
    search = rows.get("search")
    if search is None or trial["number"] == 0 or trial.get("origin"):
        return False
    budget = search["trials_per_method"]
    learned = min(10, budget // 3)
    random = {
        "random": math.inf,
        "tpe": learned,
        "gp": min(4, learned),
        "nsga2": min(50, max(4, budget // 5)),
    }
    return trial["number"] < random.get(search["sampler"], 0)


def _wins(name: str, places: Mapping[str, Sequence[float]]) -> str:
    """In how many pairs of a method's trials the one in front scores more."""
    front, others = places["before"], [place for place in places if place != "before"]
    shares = [f"{len(places[at])} {at} in {100 * ranks.wins(front, places[at]):.0f} %" for at in others]
    return f"{name}, {len(front)} in front: above {words.listed(shares)} of pairs"


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
    means = {}
    for index, contender in enumerate(found.contenders):
        finalist = chosen_finalist(found.rows, contender.method) if contender.method in names else None
        scores = [run["validation"] for run in finalist["runs"]] if finalist else []
        known = [score for score in scores if finite(score)]
        if known:
            means[index] = float(np.mean(known))
    return max(means, key=lambda index: means[index]) if means else None


def _tokens(rows: Rows, name: str) -> str:
    finalist = chosen_finalist(rows, name)
    tokens = finalist["config"].get("num_virtual_tokens") if finalist else None
    return f"{name}, {tokens} virtual tokens" if tokens is not None else name
