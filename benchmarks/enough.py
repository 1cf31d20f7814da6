"""Could a search tell that another trial is not worth it? Criteria from the literature beside what was really left to find.

    python -m benchmarks.enough [--searches 60] [--jobs 2]

After 8, 16 and 30 trials on a made-up landscape (benchmarks/landscapes.py), searched as the product does: what a criterion expects of more
trials, and what was left, the best true score of the space minus that of the configuration of which most is expected. A criterion
says that a search has had enough once its number is below the noise of an evaluation. It is worth something if less is left where it says
so, and if its number goes with what is left (correlation).

EI: the largest expected improvement of the product's own process. regret bound, EMMR: those of `optuna.terminator`.
"""

from __future__ import annotations

import argparse
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.terminator import EMMREvaluator, RegretBoundEvaluator
from scipy import stats

from benchmarks.landscapes import METHODS, MadeUp, default, drawn, space
from benchmarks.search_quality import quiet
from search.seeds import derive
from search.strategy.expectation import Ended, expected_of_complete
from search.strategy.gaussian_process import Encoding, GaussianProcess
from search.strategy.gp_sampler import GPSampler

FIRST = 1000
LOOKS = (8, 16, 30)
STARTUP = 5
OPTIONS = 400


class Look(NamedTuple):
    """What was seen of a search.

    Attributes:
        trials: that had ended.
        noise: the standard deviation of a configuration's scores, but for seeds that collapse.
        left: of true score to find.
        expected: of more trials, by criterion.
    """

    trials: int
    noise: float
    left: float
    expected: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--searches", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn"), initializer=quiet) as pool:
        looks = [look for found in pool.map(searched, range(given.searches)) for look in found]
    print(
        "| trials | left | noise | criterion | its median | correlation with what is left | says enough | left there |"
    )
    print("|" + "---:|" * 3 + "---|" + "---:|" * 4)
    for trials in LOOKS:
        mine = [look for look in looks if look.trials == trials]
        left, noise = np.array([look.left for look in mine]), np.array([look.noise for look in mine])
        for name in mine[0].expected:
            expected = np.array([look.expected[name] for look in mine])
            enough = expected < noise
            there = f"{left[enough].mean():.4f}" if enough.any() else "-"
            print(
                f"| {trials} | {left.mean():.4f} | {noise.mean():.4f} | {name} | {np.median(expected):.4f} | "
                f"{np.corrcoef(expected, left)[0, 1]:.2f} | {enough.mean():.0%} | {there} |"
            )


def searched(k: int) -> list[Look]:
    """The looks at search k."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    land = MadeUp(METHODS[k % len(METHODS)], FIRST + k)
    ranges, first = space(land.method), default(land.method)
    study = optuna.create_study(sampler=GPSampler(ranges, first, STARTUP, k), direction="maximize")
    study.enqueue_trial(first)
    done, found, options = list[Ended](), list[Look](), drawn(land.method, OPTIONS, k)
    for number in range(max(LOOKS)):
        trial = study.ask(ranges)
        score = land.curve(trial.params, derive(k, "trial", number))[-1]
        study.tell(trial, score)
        done.append(Ended(number, trial.params, score, {}))
        if number + 1 in LOOKS:
            known = expected_of_complete(done, ranges)
            best = done[max(known, key=lambda each: known[each])].params
            again = [land.curve(best, derive(k, "again", each))[-1] for each in range(50)]
            expected = criteria(study, done, options)
            found.append(Look(number + 1, usual_spread(again), land.best - land.true(best), expected))
    return found


def usual_spread(scores: list[float]) -> float:
    """The standard deviation of normal scores whose median distance to the median is that of these."""
    return float(stats.median_abs_deviation(scores, scale="normal"))


def criteria(study: optuna.Study, done: list[Ended], options: list[dict[str, Any]]) -> dict[str, float]:
    """What each criterion expects of more trials; `options` are what could be tried."""
    encoding = Encoding(study.trials[0].distributions)
    process = GaussianProcess(encoding, [each.params for each in done], [each.score or 0.0 for each in done])
    trials = study.get_trials(deepcopy=False)
    return {
        "EI": float(process.expected_improvement(options).max()),
        "regret bound": RegretBoundEvaluator().evaluate(trials, study.direction),
        "EMMR": EMMREvaluator(seed=0).evaluate(trials, study.direction),
    }


if __name__ == "__main__":
    main()
