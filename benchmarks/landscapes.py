"""What a search of one method meets (`Landscape`), and made-up ones. benchmarks/recorded_landscapes.py has those of recorded trials."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution

import methods
from benchmarks.surface import HIDDEN, LAYERS
from search.config.spaces import Space
from search.seeds import derive
from search.strategy.gaussian_process import at, unit
from search.strategy.sampling import distributions

STEPS: tuple[int, ...] = (12, 24, 36, 48)
METHODS = ("prompt_tuning", "p_tuning", "prefix_tuning", "p_tuning_v2", "lora")
Config = Mapping[str, Any]
DRAWN = 4000
"""Random configurations of which the best stands for the best of a space."""
_CHANCE = 0.5
_SEED_STD, _ROWS_STD, _COLLAPSES = 0.015, 0.012, 0.03
_ROWS = 400
"""Of made-up trials: standard deviation of a seed's luck and of an evaluation's, and the share of seeds that collapse.

Of this many rows of validation an evaluation's luck is half of a score's standard error, since trials answer the same ones.
"""


class Landscape(Protocol):
    """Scores of one method's configurations, higher is better.

    Attributes:
        method: its name.
        steps: at which a trial is evaluated, ascending.
        best: the best true score.
        rows: of validation.
        trivial: the score of the most frequent label.
    """

    method: str
    rows: int
    trivial: float
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

    steps, rows, trivial = STEPS, _ROWS, _CHANCE

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
        return max(self.true(config) for config in drawn(self.method, DRAWN, 0))

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
