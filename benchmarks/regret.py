"""How far from the best does the search of one method end? Ours and others, on landscapes.

    python -m benchmarks.regret [--on made-up] [--trials 16 30] [--searches 150] [--only NAME ...] [--jobs 2]

Every search gets as many whole trainings; search k of all of them meets the same landscape with the same seed. Regret is the best true
score of the space minus the true score of the configuration that a search ends with: the best on validation, or what the product
promotes first. "ours, second stage" is the same search as "ours" after its second stage, whose runs are extra.

random, quasi-random, TPE, GP: Optuna's samplers with their defaults. former: what this project did until November 2026, TPE for score
and deployed parameters together, hyperparameters drawn jointly. Ray: OptunaSearch with ASHAScheduler as its users write it,
until as many steps are trained. SMAC: if it is installed (`pip install smac`).
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution

from benchmarks.landscapes import METHODS, Config, Landscape, MadeUp, default, space
from benchmarks.recorded_landscapes import TABLES, Fitted, Table
from benchmarks.search_quality import interval, quiet
from benchmarks.searches import Ours, Rays
from search.seeds import derive
from search.study import race

FIRST = 1000
"""The first seed: the settings of our sampler were chosen on smaller ones."""


class Answer(NamedTuple):
    """What a search ends with.

    Attributes:
        name: of the search.
        config: the configuration.
        steps: trained for it.
        seconds: of the processor, for all proposals.
    """

    name: str
    config: Config
    steps: int
    seconds: float


@functools.cache
def landscape(kind: str, k: int) -> Landscape:
    """The landscape that search k meets."""
    if kind == "made-up":
        return MadeUp(METHODS[k % len(METHODS)], FIRST + k)
    task, method = TABLES[k % len(TABLES)]
    return Table(task, method) if kind == "tables" else Fitted(task, method, FIRST + k)


def ours(
    land: Landscape, trials: int, seed: int, name: str, slots: int = 1, more: float = 1.0, **search: Any
) -> Iterator[Answer]:
    """The product's study, called as Ray Tune calls it; its answer after the search, and after the second stage.

    `slots` trials run at once; `more` times as many run as are asked for, where early stopping saves steps.
    """
    began, steps = time.process_time(), 0
    with tempfile.TemporaryDirectory() as folder:
        mine = Ours(
            seed,
            Path(folder),
            land.rows,
            land.trivial,
            finalists=True,
            methods=[land.method],
            steps=land.steps,
            trials_per_method=round(more * trials),
            **search,
        )
        running: dict[str, Any] = {}
        count, searched = 0, False
        while True:
            while len(running) < slots and (asked := mine.ask(str(count))) is not None:
                if mine.study.of(land.method, "finalists") and not searched:
                    searched = True
                    first = next(iter(race.promoted(mine.study, land.method)))
                    config = mine.study.of(land.method, "search")[first].user_attrs["config"]
                    yield Answer(name, config, steps, time.process_time() - began)
                running[str(count)] = (
                    asked,
                    iter(zip(land.steps, land.curve(asked[1], asked[2]), strict=True)),
                )
                count += 1
            if not running:
                break
            for key, ((_, config, _), left) in list(running.items()):
                step, score = next(left)
                steps += land.steps[0]
                stopped = mine.report(key, step, score, land.deployed(config))
                if stopped or step == land.steps[-1]:
                    mine.end(key)
                    del running[key]
        chosen = race.choose(mine.study, land.method)
        assert chosen is not None
        config = mine.study.of(land.method, "search")[chosen].user_attrs["config"]
        yield Answer(f"{name}, second stage", config, steps, time.process_time() - began)


def optunas(
    land: Landscape, trials: int, seed: int, name: str, make: Callable[[int], optuna.samplers.BaseSampler]
) -> Answer:
    """An Optuna study with a sampler; "former" has a second objective."""
    began, ranges = time.process_time(), space(land.method)
    directions = ["maximize", "minimize"] if name == "former" else ["maximize"]
    study = optuna.create_study(sampler=make(seed), directions=directions)
    if name == "former":
        study.enqueue_trial(default(land.method))
    done = []
    for number in range(trials):
        trial = study.ask(ranges)
        score = land.curve(trial.params, derive(seed, "trial", number))[-1]
        study.tell(trial, [score, land.deployed(trial.params)][: len(directions)])
        done.append((score, trial.params))
    return Answer(
        name,
        max(done, key=lambda each: each[0])[1],
        trials * land.steps[-1],
        time.process_time() - began,
    )


def rays(land: Landscape, trials: int, seed: int, name: str) -> Answer:
    """OptunaSearch and ASHAScheduler, called as Ray Tune calls them; trials go on until the steps are spent."""
    began, steps, done = time.process_time(), 0, list[tuple[float, Config]]()
    search = Rays(seed, costs=False, methods=[land.method], steps=land.steps)
    for number in itertools.count():
        if steps >= trials * land.steps[-1]:
            break
        key = str(number)
        _, config, luck = search.ask(key)
        for step, score in zip(land.steps, land.curve(config, luck), strict=True):
            steps += land.steps[0]
            if search.report(key, step, score, 0):
                break
        search.end(key)
        done.append((score, config))
    return Answer(name, max(done, key=lambda each: each[0])[1], steps, time.process_time() - began)


def smacs(land: Landscape, trials: int, seed: int, name: str) -> Answer:
    """SMAC's facade for hyperparameters, which models scores by a random forest."""
    import ConfigSpace
    from smac import HyperparameterOptimizationFacade, Scenario

    began, ranges = time.process_time(), space(land.method)
    settings = ConfigSpace.ConfigurationSpace(seed=seed)
    for key, each in ranges.items():
        if isinstance(each, CategoricalDistribution):
            settings.add(ConfigSpace.Categorical(key, list(each.choices)))
        else:
            kind = ConfigSpace.Integer if isinstance(each, IntDistribution) else ConfigSpace.Float
            settings.add(kind(key, (each.low, each.high), log=each.log))
    done = list[tuple[float, Config]]()

    def loss(config: Any, seed: int = 0) -> float:
        asked = {
            key: ranges[key].to_external_repr(ranges[key].to_internal_repr(config[key])) for key in ranges
        }
        score = land.curve(asked, derive(seed, "trial", len(done)))[-1]
        done.append((score, asked))
        return -score

    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(settings, n_trials=trials, seed=seed, output_directory=Path(folder))
        HyperparameterOptimizationFacade(scenario, loss, logging_level=50, overwrite=True).optimize()
    best = max(done, key=lambda each: each[0])[1]
    return Answer(name, best, len(done) * land.steps[-1], time.process_time() - began)


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "quasi-random": lambda seed: optuna.samplers.QMCSampler(seed=seed),
    "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "GP": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "former": lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, multivariate=True),
}
OURS: dict[str, dict[str, Any]] = {
    "ours": {"early_stopping": False},
    "ours, early stopping": {"early_stopping": True},
    "ours, early stopping, as many steps": {"early_stopping": True, "more": 1.4},
    "ours, four at once": {"early_stopping": False, "slots": 4},
    "ours, tpe": {"early_stopping": False, "sampler": "tpe"},
}
PEERS = {"Ray: OptunaSearch + ASHA": rays, "SMAC": smacs}
NAMES = [*SAMPLERS, *PEERS, *OURS]


def answers(name: str, kind: str, trials: int, k: int) -> dict[str, tuple[float, int, float]]:
    """Regret, steps and seconds of what a search ends with, by the name of the answer."""
    land, seed = landscape(kind, k), FIRST + k
    if name in OURS:
        found = list(ours(land, trials, seed, name, **OURS[name]))
    elif name in PEERS:
        found = [PEERS[name](land, trials, seed, name)]
    else:
        found = [optunas(land, trials, seed, name, SAMPLERS[name])]
    return {each.name: (land.best - land.true(each.config), each.steps, each.seconds) for each in found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ["made-up", "fitted", "tables"]
    parser.add_argument(
        "--on",
        nargs="+",
        choices=kinds,
        default=kinds[:1],
        help="fitted, tables: of what real_trials.py recorded",
    )
    parser.add_argument("--trials", nargs="+", type=int, default=[16, 30])
    parser.add_argument("--searches", type=int, default=150)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="beside random")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    names = ["random", *(name for name in given.only if name != "random")]
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn"), initializer=quiet) as pool:
        for kind, trials in itertools.product(given.on, given.trials):
            print(f"\n{kind}, {trials} trials, {given.searches} searches\n")
            print("| search | regret | minus random's | of random's | steps | ms a trial |")
            print("|---|---:|---:|---:|---:|---:|")
            reference: list[float] = []
            for name in names:
                if importlib.util.find_spec("smac") is None and name == "SMAC":
                    print("| SMAC | not installed |")
                    continue
                ask = functools.partial(answers, name, kind, trials)
                runs = list(pool.map(ask, range(given.searches)))
                for answer in runs[0]:
                    regrets, steps, seconds = zip(*(run[answer] for run in runs), strict=True)
                    reference = reference or list(regrets)
                    print(
                        row(answer, regrets, reference, mean(steps), 1000 * mean(seconds) / trials),
                        flush=True,
                    )


def row(
    name: str, regrets: Sequence[float], reference: Sequence[float], steps: float, milliseconds: float
) -> str:
    """A line of the table; differences are paired."""
    gap = interval([one - other for one, other in zip(regrets, reference, strict=True)])
    share = mean(regrets) / mean(reference)
    return f"| {name} | {interval(regrets)} | {gap} | {share:.2f} | {steps:,.0f} | {milliseconds:.0f} |"


if __name__ == "__main__":
    main()
