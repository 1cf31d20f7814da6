"""How often the report's intervals hold, and how often it claims a difference among equals: simulated studies.

    python -m benchmarks.coverage [--rounds 2000]

Every cell of the grid has S seeds, E test examples, and the model of `dashboards/findings/statistics.py`:
y[s, e] = mu + a[s] + b[e] + g[s, e], with standard deviations `seed_std`, `example_std` and 0.2. Two methods have half of
what makes an example hard in common. Printed: the share of nominal 95 % intervals that hold the true mean, and the
true difference; and the share of studies of four equal methods in which the report claims that one is better.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any, NamedTuple

import numpy as np

from dashboards.findings.statistics import FloatArray, Sample, difference, mean_interval
from dashboards.findings.verdict import decide

NOISE = 0.2
SEEDS, EXAMPLES = (5, 3), (100, 400)
SEED_STD, EXAMPLE_STD = (0.0, 0.005, 0.02, 0.05, 0.1), (0.05, 0.15, 0.45)
METHODS = ("first", "second", "third", "fourth")


class Cell(NamedTuple):
    """One point of the grid."""

    seeds: int
    examples: int
    seed_std: float
    example_std: float


def tables(cell: Cell, methods: int, rng: np.random.Generator) -> FloatArray:
    """[methods, S, E] scores with the true mean 0."""
    seeds, examples, seed_std, example_std = cell
    common = rng.normal(0, example_std, examples)
    own = rng.normal(0, example_std / 2, (methods, 1, examples))
    luck = rng.normal(0, seed_std, (methods, seeds, 1))
    return common + own + luck + rng.normal(0, NOISE, (methods, seeds, examples))


def coverage(cell: Cell, rounds: int, seed: int) -> dict[str, float]:
    """Share of the intervals of a mean, and of a difference, that hold 0."""
    rng, held = np.random.default_rng(seed), {"mean": 0, "difference": 0}
    for _ in range(rounds):
        a, b = (Sample.of(table) for table in tables(cell, 2, rng))
        for name, found in (("mean", mean_interval(a)), ("difference", difference(a, b))):
            assert found.ci_low is not None
            assert found.ci_high is not None
            held[name] += found.ci_low <= 0 <= found.ci_high
    return {name: count / rounds for name, count in held.items()}


def false_claims(cell: Cell, rounds: int, seed: int) -> float:
    """Share of studies of four equal methods whose verdict claims a difference in score."""
    rng, wins = np.random.default_rng(seed), 0
    for _ in range(rounds):
        found = decide(_study(tables(cell, len(METHODS), rng)))  # type: ignore[arg-type]
        # A dear method that wins claims a difference to the cheaper ones, whatever its basis is called.
        wins += found.basis == "score" or (found.basis == "cost" and found.method != METHODS[0])
    return wins / rounds


def _study(scores: FloatArray) -> dict[str, Any]:
    """What of result rows a verdict needs; the first method is the cheapest."""
    finalists = [
        {
            "method": method,
            "config": {},
            "chosen": True,
            "deployed_parameters": price,
            "runs": [
                {"state": "COMPLETE", "test": row.mean(), "examples": {"task": row.tolist()}} for row in table
            ],
        }
        for price, (method, table) in enumerate(zip(METHODS, scores, strict=True))
    ]
    methods = [{"method": method} for method in METHODS]
    return {
        "epsilon": 0.01,
        "tasks": [{"name": "task"}],
        "methods": methods,
        "trials": [],
        "finalists": finalists,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    print("| seeds | examples | seed std | example std | mean | difference | false claims |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for cell in map(Cell._make, itertools.product(SEEDS, EXAMPLES, SEED_STD, EXAMPLE_STD)):
        held, wins = coverage(cell, rounds, seed=1), false_claims(cell, rounds // 2, seed=2)
        figures = f"{100 * held['mean']:.1f} % | {100 * held['difference']:.1f} % | {100 * wins:.1f} %"
        print("| " + " | ".join(map(str, cell)) + f" | {figures} |", flush=True)


if __name__ == "__main__":
    main()
