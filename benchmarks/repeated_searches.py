"""Does a report know how much its search matters? Whole studies on one surface, repeated with other seeds.

    python -m benchmarks.repeated_searches [--surfaces 8] [--searches 12] [--jobs 2]

Each study has its own search, second stage and test scores (benchmarks/surface.py). Repeated studies of a surface end with other
configurations; the mean of what they truly score is what a method is worth under this search. Counted is how often a study's
intervals hold it, with the search's spread and without, and beside the true standard deviation of what the searches end with
stands the one that the studies estimate.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from multiprocessing import get_context

import numpy as np

from benchmarks.search_quality import FIRST, quiet, whole_rows
from benchmarks.surface import METHODS, draw
from dashboards.findings.contest import Contest, contest
from dashboards.statistics.joint import Estimate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--surfaces", type=int, default=8)
    parser.add_argument("--searches", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    print(
        "| surface | true spread | estimated | mean | difference | without the spread | called the best | falsely |"
    )
    print("|" + "---:|" * 8)
    total = defaultdict[str, float](float)
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn"), initializer=quiet) as pool:
        for surface in range(FIRST, FIRST + given.surfaces):
            seeds = [surface * 1000 + number for number in range(given.searches)]
            found = list(pool.map(ended, [surface] * given.searches, seeds))
            one = tally(found)
            show(str(surface), one)
            for key, number in one.items():
                total[key] += number
    show("all", total)


def ended(surface_seed: int, seed: int) -> tuple[Contest, dict[str, float]]:
    """A study, and what the configuration of each method that it ended with truly scores."""
    surface = draw(surface_seed)
    found = contest(whole_rows(surface, seed))
    return found, {each.method: surface.true(each.method, each.config) for each in found.contenders}


def tally(found: list[tuple[Contest, dict[str, float]]]) -> Mapping[str, float]:
    """What is counted over the studies of one surface; variances are summed over the studies."""
    ends = {method: [true[method] for _, true in found if method in true] for method in METHODS}
    worth = {method: float(np.mean(scores)) for method, scores in ends.items()}
    count = defaultdict[str, float](float, studies=len(found))
    count["true"] = len(found) * float(np.mean([np.var(scores, ddof=1) for scores in ends.values()]))
    for each, _ in found:
        names = [contender.method for contender in each.contenders]
        count["estimated"] += each.joint.search.variance if each.joint.search else 0
        for index, name in enumerate(names):
            count["means"] += 1
            count["mean"] += holds(each.joint.mean(index), worth[name])
        for one, other in combinations(range(len(names)), 2):
            gap = worth[names[one]] - worth[names[other]]
            count["pairs"] += 1
            count["difference"] += holds(each.joint.difference(one, other), gap)
            count["without"] += holds(each.configurations.difference(one, other), gap)
        count["best"] += each.standing.best
        count["false"] += each.standing.best and worth[each.leader.method] < max(worth.values())
    return count


def holds(estimate: Estimate, wanted: float) -> bool:
    assert estimate.ci_low is not None
    assert estimate.ci_high is not None
    return estimate.ci_low <= wanted <= estimate.ci_high


def show(name: str, count: Mapping[str, float]) -> None:
    spreads = (f"{np.sqrt(count[key] / count['studies']):.4f}" for key in ("true", "estimated"))
    shares = (
        ("mean", "means"),
        ("difference", "pairs"),
        ("without", "pairs"),
        ("best", "studies"),
        ("false", "studies"),
    )
    shown = (f"{100 * count[part] / count[whole]:.1f} %" for part, whole in shares)
    print("| " + " | ".join((name, *spreads, *shown)) + " |", flush=True)


if __name__ == "__main__":
    main()
