"""What a search of one method meets, from what benchmarks/real_trials.py has recorded: tables of the trials, and fitted surfaces.

A table answers with the recorded trial that is nearest to what is asked for, noise and all; its true scores are those on test rows. A
fitted surface is a forest of extremely randomized trees (Geurts et al. 2006), grown on a bootstrap sample of the configurations, so
that each seed gives another; what the two seeds of a configuration differ in is its noise, and how often one of them has collapsed.
"""

from __future__ import annotations

import json
import math
import random
from functools import cache, cached_property
from pathlib import Path
from statistics import mean

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.landscapes import DRAWN, STEPS, Config, drawn, space
from search.seeds import derive
from search.strategy.gaussian_process import Encoding, FloatArray, GaussianProcess

RECORDED = Path(__file__).with_name("recorded")
TABLES = [
    (task, method) for task in ("sst2", "intents") for method in ("prompt_tuning", "p_tuning_v2", "lora")
]
ROWS, TRIVIAL = 200, {"sst2": 1 / 2, "intents": 1 / 7}
"""Of validation; the share of each label in a task."""
_TREES, _LEAF = 60, 2
_COLLAPSED = 4.0
"""How many standard deviations a seed lies below the other one of its configuration if it has collapsed."""


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

    steps, rows = STEPS, ROWS

    def __init__(self, task: str, method: str) -> None:
        self.method, self.trivial = method, TRIVIAL[task]
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

    steps, rows = STEPS, ROWS

    def __init__(self, task: str, method: str, seed: int) -> None:
        self.method, self.trivial = method, TRIVIAL[task]
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
        points = self._recorded.encoding.points(drawn(self.method, DRAWN, 0))
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
