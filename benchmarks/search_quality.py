"""Is the search any good? Made-up surfaces (benchmarks/surface.py), the same steps of training for every search.

    python -m benchmarks.search_quality [--only PART] [--seeds 30] [--trainings 8] [--jobs 2]

search: our search (its own searcher, proposals, halving), random search, and Ray's OptunaSearch with its ASHAScheduler on one space
with a choice `method`, as Ray's users write it; each on a surface of each seed, `SLOTS` trials at once, until all trials together have
trained as many steps as `trainings` whole trials of each method. Early stopping buys trials with the steps it saves. Compared are true scores, without noise: that of the
recommended configuration, the best on validation of those trained to the end; and the hypervolume of the recommended set, those
that none of fewer deployed parameters beats on validation, in score above `FLOOR` times decades of deployed parameters.

planted, shuffled: whole studies, with finalists, test split and verdict; counted is how often the verdict names the method whose
best score is `MARGIN` above all others', and how often a difference in score is claimed where no score differs from chance.
statistics: the same without the search, so that many can be counted.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from scipy import stats

from benchmarks.searches import SLOTS, Ours, Random, Rays, Search
from benchmarks.surface import EVAL_STEPS, MAX_STEPS, METHODS, ROWS, Surface, deployed, draw, shuffled
from dashboards.findings.contest import contest
from dashboards.findings.verdict import comparisons, decide
from search.driver import second_stage
from search.results.rows import study_rows
from search.seeds import derive
from search.study.finalists import TRIVIAL

FIRST = 1000
"""The first seed: the settings of our sampler were chosen on smaller ones."""
FLOOR, DECADES = 0.6, (2.0, 6.0)
MARGIN = 0.05


class Tried(NamedTuple):
    """A configuration, and the validation score of its trial that was trained to the end."""

    method: str
    config: dict[str, Any]
    score: float


@dataclass
class Running:
    """A trial that trains."""

    method: str
    config: dict[str, Any]
    seed: int
    step: int = 0


def spend(search: Search, surface: Surface, budget: float = math.inf) -> tuple[list[Tried], int, int]:
    """Lets a search train `SLOTS` trials at once, an evaluation each by turns.

    Returns:
        What was trained to the end, in that order; how many trials were begun; steps of all of them together.
    """
    running: dict[str, Running] = {}
    done: list[Tried] = []
    begun = steps = 0
    while steps < budget:
        while len(running) < SLOTS and (asked := search.ask(str(begun))) is not None:
            running[str(begun)] = Running(*asked)
            begun += 1
        if not running:
            break
        for name, trial in list(running.items()):
            if steps >= budget:
                break
            trial.step += EVAL_STEPS
            steps += EVAL_STEPS
            score = surface.validation(trial.method, trial.config, trial.step, trial.seed)
            stopped = search.report(name, trial.step, score, deployed(trial.method, trial.config))
            if trial.step == MAX_STEPS:
                done.append(Tried(trial.method, trial.config, score))
            if stopped or trial.step == MAX_STEPS:
                search.end(name)
                del running[name]
    return done, begun, steps


def best(done: Sequence[Tried], surface: Surface) -> float:
    """True score of the configuration that was the best on validation."""
    found = max(done, key=lambda tried: tried.score)
    return surface.true(found.method, found.config)


def hypervolume(done: Sequence[Tried], surface: Surface) -> float:
    """Of the recommended set: the area below its true scores, in score times decades of deployed parameters."""
    area, reached, seen = 0.0, FLOOR, -math.inf
    low, high = DECADES
    points = []
    for tried in sorted(done, key=lambda tried: (deployed(tried.method, tried.config), -tried.score)):
        if tried.score > seen:
            seen = tried.score
            cost = math.log10(max(1, deployed(tried.method, tried.config)))
            points.append((min(max(cost, low), high), surface.true(tried.method, tried.config)))
    for cost, true in points:
        if true > reached:
            area += (true - reached) * (high - cost)
            reached = true
    return area


def compared(seed: int, trainings: int) -> dict[str, dict[str, float]]:
    """Every search on the surface of a seed."""
    surface = draw(seed)
    found = {}
    for name, search in searches(surface, seed, trainings):
        done, begun, steps = spend(search, surface, trainings * len(METHODS) * MAX_STEPS)
        found[name] = {
            "best score": best(done, surface),
            "hypervolume": hypervolume(done, surface),
            "trials": begun,
            "trained to the end": len(done),
            "steps": steps,
        }
    return found


def searches(surface: Surface, seed: int, trainings: int) -> Iterator[tuple[str, Search]]:
    with tempfile.TemporaryDirectory() as folder:
        many = 2 * trainings  # early stopping makes about twice the trials of the steps
        yield "ours", Ours(seed, Path(folder), ROWS["validation"], surface.chance, trials_per_method=many)
        yield "random", Random(seed)
        yield "Ray: OptunaSearch + ASHA", Rays(seed, costs=False)
        yield "Ray, both objectives", Rays(seed, costs=True)


def whole_rows(surface: Surface, seed: int) -> Any:
    """The result rows of a study from its first trial to its last test score."""
    with tempfile.TemporaryDirectory() as folder:
        search = Ours(
            seed, Path(folder), ROWS["validation"], surface.chance, finalists=True, trials_per_method=12
        )
        spend(search, surface)
        study = search.study
        study.record_study_fact(TRIVIAL, {})  # there are no labels of which one is the most frequent
        second_stage.score_on_test(study, lambda jobs: enumerate(reading(surface, job) for job in jobs))
        return study_rows(study, "done", {"backbone": {}, "tasks": [{"name": "task"}]})


def said(rows: Any) -> dict[str, Any]:
    """What a study's report says: the recommended method, whether it is called the best, and whether any difference is claimed."""
    found = contest(rows)
    verdict = decide(found)
    claims = any(row["outcome"] == "better" for row in comparisons(found))
    return {"method": verdict.method, "won": verdict.decision == "best", "claims": claims}


def statistics(seed: int) -> dict[str, Any]:
    """As `null`, without the search, whose choices change nothing there: five seeds of each method on the test split."""
    surface, config, finalists = shuffled(seed), {"learning_rate": 0.01}, []
    for price, method in enumerate(METHODS):
        tables = [surface.test(method, config, derive(seed, method, index)) for index in range(5)]
        runs = [
            {
                "state": "COMPLETE",
                "test": float(table.mean()),
                "test_task_scores": {"task": float(table.mean())},
                "examples": {"task": table.tolist()},
                "seconds": None,
            }
            for table in tables
        ]
        finalists.append(
            {
                "method": method,
                "config": config,
                "number": 0,
                "role": "best",
                "chosen": True,
                "deployed_parameters": price,
                "head_parameters": 0,
                "runs": runs,
            }
        )
    described = {
        "epsilon": 0.01,
        "objective": {"over_tasks": "mean"},
        "tasks": [{"name": "task"}],
        "methods": [{"method": method, "space": {}} for method in METHODS],
        "trials": [],
        "partial": False,
    }
    return said({**described, "finalists": finalists})


def reading(surface: Surface, job: dict[str, Any]) -> dict[str, Any]:
    """What `held_out.score` would give of a finished trial."""
    right = surface.test(job["method"], job["config"], job["seed"])
    score = float(right.mean())
    count = len(right)
    return {
        "test": score,
        "task_scores": {"task": score},
        "metrics": {"task": {}},
        "sha256": {"task": ""},
        "predictions": {
            "task": ["task"] * count,
            "row": list(range(count)),
            "target": [1.0] * count,
            "prediction": right,
            "score": right,
        },
    }


def planted(seed: int) -> dict[str, Any]:
    method = METHODS[1 + seed % (len(METHODS) - 1)]
    return {"planted": method, **said(whole_rows(draw(seed, method, MARGIN), seed))}


def null(seed: int) -> dict[str, Any]:
    return said(whole_rows(shuffled(seed), seed))


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval (Student's t)."""
    half = float(stats.t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{np.mean(values):.4f} ± {half:.4f}"


def show_search(found: Sequence[dict[str, dict[str, float]]]) -> None:
    print("| search | best score | hypervolume | trials | trained to the end | steps |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in found[0]:
        column = {key: [each[name][key] for each in found] for key in found[0][name]}
        counts = (f"{np.mean(column[key]):,.0f}" for key in ("trials", "trained to the end", "steps"))
        scores = (interval(column[key]) for key in ("best score", "hypervolume"))
        print("| " + " | ".join((name, *scores, *counts)) + " |")
    print("\n| ours minus | best score | hypervolume |")
    print("|---|---:|---:|")
    for name in list(found[0])[1:]:
        gaps = (
            interval([each["ours"][key] - each[name][key] for each in found])
            for key in ("best score", "hypervolume")
        )
        print("| " + " | ".join((name, *gaps)) + " |")


def show_planted(found: Sequence[dict[str, Any]]) -> None:
    named = sum(each["method"] == each["planted"] for each in found)
    won = sum(each["method"] == each["planted"] and each["won"] for each in found)
    print(
        f"a best method planted {MARGIN} above the others: recommended in {named} of {len(found)} studies, as the best in {won}"
    )


def show_shuffled(found: Sequence[dict[str, Any]]) -> None:
    false, claims = (sum(each[name] for each in found) for name in ("won", "claims"))
    print(
        f"shuffled labels, {len(found)} studies: the verdict calls a method the best in {false}, "
        f"some comparison in {claims}"
    )


PARTS = {
    "search": (compared, show_search),
    "planted": (planted, show_planted),
    "shuffled": (null, show_shuffled),
    "statistics": (statistics, show_shuffled),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--trainings", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn"), initializer=quiet) as pool:
        for name in [given.only] if given.only else PARTS:
            run, show = PARTS[name]
            more = [[given.trainings] * given.seeds] if name == "search" else []
            show(list(pool.map(run, range(FIRST, FIRST + given.seeds), *more)))
            print(flush=True)


def quiet() -> None:
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


if __name__ == "__main__":
    main()
