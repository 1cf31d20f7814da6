"""What a search of one method meets: made-up surfaces, surfaces fitted to recorded trials, and tables of recorded trials.

`Table` and `Fitted` come from what benchmarks/real_trials.py has recorded. A table answers with the
recorded trial that is nearest to what is asked for, noise and all; its true scores are those on test rows. A fitted surface is a forest of extremely randomized trees
(Geurts et al. 2006), grown on a bootstrap sample of the configurations, so that each seed gives another; what the two seeds of a
configuration differ in is its noise, and how often one of them has collapsed.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from sklearn.ensemble import ExtraTreesRegressor

import methods
from benchmarks.surface import HIDDEN, LAYERS
from search.config.spaces import Space
from search.seeds import derive
from search.strategy.gaussian_process import Encoding, FloatArray, GaussianProcess, at, unit
from search.strategy.sampling import distributions

RECORDED = Path(__file__).with_name("recorded")
RECORDED_STEPS = (12, 24, 36, 48)
METHODS = ("prompt_tuning", "p_tuning", "prefix_tuning", "p_tuning_v2", "lora")
TABLES = [
    (task, method) for task in ("sst2", "intents") for method in ("prompt_tuning", "p_tuning_v2", "lora")
]
Config = Mapping[str, Any]
_DRAWN = 4000
"""Random configurations of which the best stands for the best of a space."""
_CHANCE = 0.5
_SEED_STD, _ROWS_STD, _COLLAPSES = 0.015, 0.012, 0.03
"""Of made-up trials: standard deviation of a seed's luck and of an evaluation's, and the share of seeds that collapse."""
_TREES, _LEAF = 60, 2
_COLLAPSED = 4.0
"""How many standard deviations a seed lies below the other one of its configuration if it has collapsed."""


class Landscape(Protocol):
    """Scores of one method's configurations, higher is better.

    Attributes:
        method: its name.
        steps: at which a trial is evaluated, ascending.
        best: the best true score.
    """

    method: str
    steps: tuple[int, ...]

    @property
    def best(self) -> float: ...

    def true(self, config: Config) -> float:
        """What a configuration scores, over all seeds and rows."""

    def curve(self, config: Config, seed: int) -> list[float]:
        """What a trial measures on validation at each of the steps."""

    def deployed(self, config: Config) -> int:
        """Its deployed parameters."""


def space(method: str) -> dict[str, BaseDistribution]:
    """The distributions of what is searched of a method by default."""
    return distributions(Space({}, dict(methods.get(method).Config.space())))


def default(method: str) -> dict[str, Any]:
    """What is searched of a method, as its published default has it."""
    whole = vars(methods.get(method).Config())
    return {name: whole[name] for name in space(method)}


def drawn(method: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Random configurations of a method's space."""
    draw, ranges = random.Random(seed), space(method)
    return [
        {
            name: draw.choice(each.choices)
            if isinstance(each, CategoricalDistribution)
            else at(each, draw.random())
            for name, each in ranges.items()
        }
        for _ in range(count)
    ]


@dataclass(frozen=True)
class _Rate:
    """How a score falls with the distance to the best learning rate; in widths of the range.

    Attributes:
        best: the best rate.
        plateau: distance within which nothing is lost.
        steep: loss at a distance of 1 beyond it; above the best rate, twice that.
        diverges: distance above the best rate from which on nothing is learned.
        shift: by how much the best rate falls from the fewest to the most virtual tokens.
    """

    best: float
    plateau: float
    steep: float
    diverges: float
    shift: float


class MadeUp:
    """A made-up surface, drawn from a seed, like recorded trials: a head's rate matters, seeds differ, some collapse.

    A score falls with the distance of both learning rates to their best, which lie near the published defaults; tokens and ranks help
    up to some number; choices cost little.
    """

    steps = RECORDED_STEPS

    def __init__(self, method: str, seed: int) -> None:
        draw = random.Random(derive(seed, "made up", method))
        self.method, self._space = method, space(method)
        usual = default(method)
        self._ceiling = draw.uniform(0.78, 0.9)
        self._rates: dict[str, _Rate] = {}
        self._choices: dict[str, dict[Any, float]] = {}
        self._sizes: dict[str, tuple[float, float]] = {}
        shift = draw.uniform(0.0, 0.3)
        for name, each in self._space.items():
            if isinstance(each, CategoricalDistribution):
                losses = [0.0, *(draw.choice([0.0, 0.01, 0.03]) for _ in each.choices[1:])]
                draw.shuffle(losses)
                self._choices[name] = dict(zip(each.choices, losses, strict=True))
            elif name == "learning_rate":
                best = min(0.95, max(0.1, draw.gauss(unit(each, usual[name]), 0.2)))
                plateau, steep = draw.uniform(0.03, 0.1), draw.uniform(0.2, 0.6)
                self._rates[name] = _Rate(best, plateau, steep, draw.uniform(0.25, 0.5), shift)
            elif name == "head_learning_rate":
                best = min(0.95, max(0.05, draw.gauss(unit(each, usual[name]) + 0.1, 0.2)))
                plateau, steep = draw.uniform(0.05, 0.15), draw.uniform(0.1, 0.4)
                self._rates[name] = _Rate(best, plateau, steep, math.inf, 0.0)
            else:
                self._sizes[name] = draw.uniform(0.0, 0.06), draw.uniform(0.2, 1.0)

    @cached_property
    def best(self) -> float:
        return max(self.true(config) for config in drawn(self.method, _DRAWN, 0))

    def true(self, config: Config) -> float:
        place = {name: unit(self._space[name], config[name]) for name in (*self._rates, *self._sizes)}
        size = mean([place[name] for name in self._sizes]) if self._sizes else 0.5
        # a configuration lacks what has no effect in it
        loss = sum(losses[config[name]] for name, losses in self._choices.items() if name in config)
        loss += sum(gain * max(0.0, enough - place[name]) for name, (gain, enough) in self._sizes.items())
        for name, rate in self._rates.items():
            distance = place[name] - rate.best + rate.shift * (size - 0.5)
            if distance > rate.diverges:
                return _CHANCE
            beyond = max(0.0, abs(distance) - rate.plateau)
            loss += rate.steep * beyond**2 * (2 if distance > 0 else 1)
        room = self._ceiling - _CHANCE
        return _CHANCE + room * math.exp(-loss / room)

    def curve(self, config: Config, seed: int) -> list[float]:
        draw = random.Random(derive(seed, "luck"))
        final = self.true(config)
        if draw.random() < _COLLAPSES:
            final = _CHANCE + 0.3 * (final - _CHANCE)
        luck = draw.gauss(0, _SEED_STD) if final > _CHANCE + 0.01 else 0.0
        pace = 3.0 * 4 ** (unit(self._space["learning_rate"], config["learning_rate"]) - 0.5)
        learned = [
            (1 - math.exp(-pace * step / self.steps[-1])) / (1 - math.exp(-pace)) for step in self.steps
        ]
        return [_CHANCE + (final + luck - _CHANCE) * part + draw.gauss(0, _ROWS_STD) for part in learned]

    def deployed(self, config: Config) -> int:
        return HIDDEN * LAYERS * math.prod(int(config[name]) for name in self._sizes)


class Recorded:
    """The recorded trials of a method on a task.

    Attributes:
        configs: the recorded configurations.
        curves: validation scores of each configuration's seeds, `[seeds][steps]`.
        tests: the final scores on test rows, `[seeds]`.
        deployed: the deployed parameters of each.
    """

    def __init__(self, task: str, method: str) -> None:
        lines = [json.loads(line) for line in (RECORDED / f"{task}.jsonl").read_text("utf-8").splitlines()]
        mine = [line for line in lines if line["method"] == method]
        worst = min(min(filter(None, line["validation"]), default=1.0) for line in mine)
        numbers = sorted({line["number"] for line in mine})
        runs = [[line for line in mine if line["number"] == number] for number in numbers]
        self.configs = [each[0]["config"] for each in runs]
        # One that diverged scores as the worst there is.
        self.curves = [[[score or worst for score in run["validation"]] for run in each] for each in runs]
        self.tests = [[run["test"] or worst for run in each] for each in runs]
        self.deployed = [each[0]["deployed"] for each in runs]
        self.encoding = Encoding(space(method))
        self.points_NF = self.encoding.points(self.configs)

    def nearest(self, config: Config) -> int:
        """The place of the recorded configuration that is nearest."""
        asked_1F = self.encoding.points([{name: config[name] for name in self.encoding.distributions}])
        return int(self.encoding.distances(asked_1F, self.points_NF).sum(0).argmin())


@cache
def recorded(task: str, method: str) -> Recorded:
    return Recorded(task, method)


class Table:
    """The recorded trials of a method on a task, as they are."""

    steps = RECORDED_STEPS

    def __init__(self, task: str, method: str) -> None:
        self.method = method
        self._recorded = recorded(task, method)

    @cached_property
    def best(self) -> float:
        """The best, smoothed over the configurations: the best of many noisy scores is too high."""
        pairs = zip(self._recorded.configs, self._recorded.tests, strict=True)
        many = [(config, test) for config, tests in pairs for test in tests]
        smooth = GaussianProcess(
            self._recorded.encoding, [config for config, _ in many], [test for _, test in many]
        )
        return float(smooth.mean(self._recorded.configs).max())

    def true(self, config: Config) -> float:
        return mean(self._recorded.tests[self._recorded.nearest(config)])

    def curve(self, config: Config, seed: int) -> list[float]:
        seeds = self._recorded.curves[self._recorded.nearest(config)]
        return seeds[seed % len(seeds)]

    def deployed(self, config: Config) -> int:
        return int(self._recorded.deployed[self._recorded.nearest(config)])


class Fitted:
    """A surface fitted to the recorded trials of a method on a task."""

    steps = RECORDED_STEPS

    def __init__(self, task: str, method: str, seed: int) -> None:
        self.method = method
        self._recorded = recorded(task, method)
        self._noise, self._collapses = noise(self._recorded)
        count = len(self._recorded.configs)
        picked = np.random.default_rng(seed).integers(count, size=count)
        runs = [(n, s) for n in picked for s in range(len(self._recorded.tests[n]))]
        scores = [[*self._recorded.curves[n][s], self._recorded.tests[n][s]] for n, s in runs]
        self._forest = ExtraTreesRegressor(_TREES, min_samples_leaf=_LEAF, random_state=seed)
        self._forest.fit(self._recorded.points_NF[[n for n, _ in runs]], np.array(scores))
        self._worst = min(min(curve) for seeds in self._recorded.curves for curve in seeds)
        self._known: dict[str, FloatArray] = {}

    @cached_property
    def best(self) -> float:
        points = self._recorded.encoding.points(drawn(self.method, _DRAWN, 0))
        return float(self._forest.predict(points)[:, -1].max())

    def true(self, config: Config) -> float:
        return float(self._scores(config)[-1])

    def curve(self, config: Config, seed: int) -> list[float]:
        draw = random.Random(derive(seed, "luck"))
        if draw.random() < self._collapses:
            return [self._worst + abs(draw.gauss(0, 0.01)) for _ in self.steps]
        luck = draw.gauss(0, 0.8 * self._noise)  # of the seed; the rest is each evaluation's own
        own = math.sqrt(1 - 0.8**2) * self._noise
        return [float(score) + luck + draw.gauss(0, own) for score in self._scores(config)[:-1]]

    def deployed(self, config: Config) -> int:
        return int(self._recorded.deployed[self._recorded.nearest(config)])

    def _scores(self, config: Config) -> FloatArray:
        asked = {name: config[name] for name in self._recorded.encoding.distributions}
        key = json.dumps(asked, sort_keys=True)
        if key not in self._known:
            self._known[key] = self._forest.predict(self._recorded.encoding.points([asked]))[0]
        return self._known[key]


def noise(given: Recorded) -> tuple[float, float]:
    """Standard deviation of a seed's final validation score, and the share of seeds that collapse."""
    gaps = np.array([seeds[0][-1] - seeds[1][-1] for seeds in given.curves if len(seeds) > 1])
    deviation = 1.4826 * float(np.median(np.abs(gaps))) / math.sqrt(2)
    collapsed = float((np.abs(gaps) > _COLLAPSED * math.sqrt(2) * deviation).mean()) / 2
    return deviation, collapsed
