"""Simulated studies from the first trial to the verdict, search included: for benchmarks/answer.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.worlds import PARTS, FloatArray
from search.config.finalists_config import RACE

CHANCE = 0.54
"""The score of the majority class."""
PRICES = (770, 4610, 28418, 46850, 138000, 295000)


@dataclass(frozen=True)
class Spec:
    """What happens to a study.

    Attributes:
        lead: what the best method, trained long enough and with its best configuration, is above the others.
        spread: of the configurations: their scores are below their method's best by an exponential number with this mean.
        trained: the share of the way from chance to its score that training goes; methods differ in it, by +- half of what is left.
        lost: the chance that a search trial is lost.
    """

    methods: int = 4
    lead: float = 0.0
    top: float = 0.80
    trials: int = 8
    seeds: int = 5
    rows: int = 400
    seed_std: float = 0.01
    spread: float = 0.02
    trained: float = 1.0
    lost: float = 0.0


def whole_study(spec: Spec, rng: np.random.Generator) -> tuple[dict[str, Any], FloatArray]:
    """Result rows, and the true score of each method: of its search with nothing lost and training long enough."""
    names = [f"method_{index}" for index in range(spec.methods)]
    tops = np.full(spec.methods, spec.top)
    tops[rng.integers(spec.methods)] += spec.lead
    share = spec.trained * (1 + (1 - spec.trained) * rng.uniform(-0.5, 0.5, spec.methods))
    shared = rng.normal(size=spec.rows)
    rows: dict[str, Any] = {
        "study": "simulated",
        "partial": False,
        "outcome": "done",
        "epsilon": 0.01,
        "objective": {"metric": "accuracy", "direction": "maximize", "over_tasks": "mean"},
        "tasks": [{"name": "task"}],
        "search": {"max_steps": 100},
        "methods": [],
        "trials": [],
        "finalists": [],
        "seeds": {"num_seeds": spec.seeds, "max_seeds": spec.seeds, "looks": [spec.seeds]},
        "trivial": _trivial(spec, rng),
    }
    for index, name in enumerate(names):
        space = {"learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-1, "log": True}}
        rows["methods"].append({"method": name, "space": space})
        quality = tops[index] - rng.exponential(spec.spread, spec.trials)
        reached = CHANCE + share[index] * (quality - CHANCE)
        trials = [_trial(spec, name, number, score, rng) for number, score in enumerate(reached)]
        rows["trials"] += trials
        rows["finalists"] += _finalists(spec, name, index, trials, reached, share[index], shared, rng)
    # a search ends with about the best of its configurations
    truth = tops - spec.spread / spec.trials
    return rows, truth


def _trivial(spec: Spec, rng: np.random.Generator) -> dict[str, Any]:
    hits = (rng.random(spec.rows) < CHANCE).astype(float)
    score = float(hits.mean())
    answers = {"task": "always 'positive'"}
    return {
        "test": score,
        "test_task_scores": {"task": score},
        "examples": {"task": hits.tolist()},
        "answers": answers,
    }


def _trial(spec: Spec, name: str, number: int, score: float, rng: np.random.Generator) -> dict[str, Any]:
    lost = bool(rng.random() < spec.lost)
    return {
        "number": number,
        "method": name,
        "state": "FAIL" if lost else "COMPLETE",
        "config": {"learning_rate": 1e-2},
        "validation": None if lost else float(score + rng.normal(0, 0.015)),
        "error": "killed" if lost else None,
        "deployed_parameters": 0,
    }


def _finalists(
    spec: Spec,
    name: str,
    index: int,
    trials: list[dict[str, Any]],
    reached: FloatArray,
    share: float,
    shared: FloatArray,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """The two that the best four by validation end with after a seed; after a second one the better is trained with every seed."""
    complete = [t for t in trials if t["validation"] is not None]
    four = sorted(complete, key=lambda t: -t["validation"])[: RACE[0].configurations]
    once = {t["number"]: reached[t["number"]] + rng.normal(0, 0.015) for t in four}
    done = sorted(four, key=lambda t: -once[t["number"]])[: RACE[1].configurations]
    twice = [once[t["number"]] + reached[t["number"]] + rng.normal(0, 0.015) for t in done]
    winner = int(np.argmax(twice)) if done else None
    own = rng.normal(size=shared.shape)
    found = []
    for place, trial in enumerate(done):
        chosen = place == winner
        mine = own if chosen else np.sqrt(0.8) * own + np.sqrt(0.2) * rng.normal(size=shared.shape)
        count = spec.seeds if chosen else min(RACE[1].seeds, spec.seeds)
        score = float(reached[trial["number"]])
        runs = [
            {**_run(score, seed, mine, shared, spec.seed_std, rng), "curve": _curve(score, share, rng)}
            for seed in range(count)
        ]
        found.append(
            {
                "method": name,
                "config": trial["config"],
                "number": trial["number"],
                "role": "best" if place == 0 else "runner_up",
                "chosen": chosen,
                "deployed_parameters": PRICES[index % len(PRICES)],
                "head_parameters": 0,
                "runs": runs,
            }
        )
    return found


def _run(
    score: float, seed: int, own: FloatArray, shared: FloatArray, std: float, rng: np.random.Generator
) -> dict[str, Any]:
    latent = PARTS[0] * shared + PARTS[1] * own + PARTS[2] * rng.normal(size=shared.shape)
    hits = (latent < stats.norm.ppf(np.clip(score + rng.normal(0, std), 0.01, 0.99))).astype(float)
    test = float(hits.mean())
    return {
        "seed": seed,
        "state": "COMPLETE",
        "test": test,
        "test_task_scores": {"task": test},
        "examples": {"task": hits.tolist()},
        "seconds": 10.0,
        "validation": score,
    }


def _curve(score: float, share: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Validation at the quarters of the steps; training that is cut short still rises at its end."""
    steps = np.array([25, 50, 75, 100])
    path = score - (1 - share) * max(score - CHANCE, 0.02) * (1 - steps / 100) + rng.normal(0, 0.015, 4)
    return [{"step": int(s), "validation": float(v)} for s, v in zip(steps, path, strict=True)]
