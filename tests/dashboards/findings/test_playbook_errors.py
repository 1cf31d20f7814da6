"""How often a report claims what is not true: studies of equal methods, and of places that make no difference."""

from __future__ import annotations

import numpy as np
import pytest

from dashboards.findings import guides, playbook
from dashboards.findings.contest import contest
from dashboards.findings.playbook import FAILS, HOLDS, MISSING
from dashboards.statistics import ranks
from tests.dashboards.studies import Rows, score

STUDIES = 250
METHODS = ("prompt_tuning", "p_tuning", "prefix_tuning", "p_tuning_v2")


def equal_methods(rng: np.random.Generator, seeds: int = 5, examples: int = 120) -> Rows:
    """A study of four methods whose scores differ by seeds and by examples, and in nothing else."""
    hard = rng.normal(0.7, 0.3, examples)
    spread = rng.choice([0.001, 0.01, 0.03], 4)
    tables = {
        name: hard
        + rng.normal(0, 0.1, examples)
        + rng.normal(0, std, (seeds, 1))
        + rng.normal(0, 0.2, (seeds, examples))
        for name, std in zip(METHODS, spread, strict=True)
    }
    run = {"state": "COMPLETE", "error": None, "test_task_scores": None, "seconds": 1.0}
    finalists = [
        {"method": name, "config": {}, "number": 0, "role": "best", "chosen": True, "trained_parameters": price,
         "deployed_parameters": price, "head_parameters": 7,
         "runs": [{**run, "seed": seed, "validation": float(rng.normal(0.7, 0.02))} for seed in range(seeds)]}
        for name, price in zip(METHODS, rng.permutation([100, 200, 300, 300]).tolist(), strict=True)
    ]  # fmt: skip
    rows: Rows = {
        "study": "equal", "partial": False, "outcome": "done", "epsilon": 0.002, "objective": {"metric": "accuracy"},
        "backbone": {"name": "tiny", "parameters": 1000, "hidden_size": 4, "layers": 2},
        "tasks": [{"name": "topic"}], "trials": [], "finalists": finalists,
        "methods": [{"method": name, "title": name, "baseline": False, "budget": 30, "space": {}} for name in METHODS],
    }  # fmt: skip
    score(rows, tables)
    return rows


def searched(rng: np.random.Generator, rows: Rows, sampler: str, methods: int, trials: int) -> None:
    """Adds trials with places that make no difference: normal, heavy-tailed, or a fifth of them collapsed.

    After a third of them "tpe" takes the place, and what else matters, of one of the three best so far, mostly.
    """
    rows["search"] = {"sampler": sampler, "trials_per_method": trials}
    shape = rng.choice(["normal", "tails", "collapse"])
    for method in METHODS[:methods]:
        done: list[tuple[float, str, float]] = []
        for number in range(trials):
            place, rest = str(rng.choice(["before", "after"])), float(rng.normal(0, 0.05))
            if sampler == "tpe" and number >= min(10, trials // 3) and rng.random() < 0.8:
                _, place, rest = sorted(done, reverse=True)[rng.integers(0, min(3, len(done)))]
            noise = rng.standard_t(2) if shape == "tails" else rng.normal()
            value = 0.3 if shape == "collapse" and rng.random() < 0.2 else 0.7 + rest + 0.03 * noise
            done.append((value, place, rest))
            rows["trials"].append(
                {"number": number, "method": method, "state": "COMPLETE" if rng.random() < 0.7 else "PRUNED",
                 "config": {"placement": place}, "validation": value}
            )  # fmt: skip


def answers(rows: Rows) -> dict[str, str]:
    """What the report says of scores: every answer of the two lists that is about them."""
    found = contest(rows)  # type: ignore[arg-type]
    claims = {row["claim"].split()[0]: row["answer"] for row in playbook.claims(found)}
    said = {"deep": claims["Prompts"], "placement": claims["In"]}
    return said | {row["advice"]: row["answer"] for row in guides.decisions(found)}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_where_nothing_is_true_few_reports_claim_anything(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "DRAWS", 2000)
    rng, wrong, places = np.random.default_rng(0), 0, 0
    for _ in range(STUDIES):
        rows = equal_methods(rng)
        searched(rng, rows, sampler, methods=int(rng.integers(1, 5)), trials=int(rng.integers(6, 31)))
        said = answers(rows)
        wrong += any(answer in (HOLDS, FAILS) for answer in said.values())
        places += said["placement"] in (HOLDS, FAILS)
    bound = 0.05 + 2 * (0.05 * 0.95 / STUDIES) ** 0.5
    assert (wrong / STUDIES < bound, places / STUDIES < bound) == (True, True), (wrong, places)


def test_each_question_is_answered_where_a_difference_is_large() -> None:
    """The studies above do ask: with a difference, each question about scores of one task gets an answer."""
    rng = np.random.default_rng(1)
    rows = equal_methods(rng)
    searched(rng, rows, "random", methods=4, trials=30)
    for trial in rows["trials"]:
        trial["validation"] += 0.2 * (trial["config"]["placement"] == "before")
    for each in rows["finalists"]:
        for run in each["runs"]:
            gain = {"p_tuning_v2": 0.5, "prefix_tuning": 0.3}.get(each["method"], 0.0)
            run["examples"]["topic"] = [value + gain for value in run["examples"]["topic"]]
            run["test"] += gain
    assert answers(rows) == {
        "deep": HOLDS, "placement": HOLDS, "multitask": MISSING, "prompt_pool": MISSING, "p_tuning": FAILS,
        "p_tuning_v2": HOLDS, "prefix_tuning": FAILS,
    }  # fmt: skip
