"""Made-up response surfaces, like the methods': what a configuration scores, how it learns, and what it deploys.

Each surface is drawn from a seed. A method's final score falls with the square of the distance to its best learning rate, in
decades; the best rate moves with the number of virtual tokens; tokens help up to some number; far above the best rate training
diverges, and stays at chance. Choices (the prefix's parameterization, the readout) move the best rate or cost a little. A low rate
learns slowly, so that what leads at a rung may end behind. What is measured adds the luck of a seed, and that of the finite
split: `ROWS` rows that all trials answer, hard or easy for all of them, for a method, or for a trial (variances `SHARED`, `OWN`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import methods
from dashboards.statistics.sample import FloatArray
from search.seeds import derive

METHODS = ("head_only", "prompt_tuning", "p_tuning", "prefix_tuning", "p_tuning_v2")
MAX_STEPS, EVAL_STEPS = 270, 30
HIDDEN, LAYERS = 384, 6
ROWS = {"validation": 500, "test": 1000}
SEED_STD = 0.005
SHARED, OWN = 0.5, 0.2
"""Shares of what makes a row hard that all trials have in common, and that a method's trials have."""
_REFERENCE = 1.0
"""log10 of the tokens for which `Shape.rate` is the best."""

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """Of one method; rates and tokens are log10.

    Attributes:
        ceiling: best score.
        rate: best learning rate.
        shift: decades by which a decade of tokens moves it.
        narrow: score that is lost a decade from it.
        gain: score of a decade of tokens, until there are `enough`.
        enough: as said.
        diverges: decades above the best rate.
        speed: of learning.
    """

    ceiling: float
    rate: float
    shift: float
    narrow: float
    gain: float
    enough: float
    diverges: float
    speed: float


@dataclass(frozen=True)
class Surface:
    """Scores of configurations in [0, 1].

    Attributes:
        seed: of the splits.
        shapes: by method.
        chance: score of what has learned nothing.
        seed_std: of the luck of a seed, once it has learned.
    """

    seed: int
    shapes: Mapping[str, Shape]
    chance: float = 0.5
    seed_std: float = SEED_STD

    def true(self, method: str, config: Config, step: int = MAX_STEPS) -> float:
        """What a configuration scores after `step` steps, over all seeds and rows that there could be."""
        shape, tokens = self.shapes[method], math.log10(config.get("num_virtual_tokens", 1))
        distance = math.log10(config["learning_rate"]) - shape.rate - shape.shift * (tokens - _REFERENCE)
        distance += 1.2 if config.get("parameterization") == "mlp" else 0.0
        loss = 0.0 if config.get("readout", "mean") == "mean" else 0.02
        loss += 0.01 if config.get("encoder") == "mlp" or config.get("init") == "normal" else 0.0
        loss += shape.narrow * distance**2 + shape.gain * max(0.0, shape.enough - tokens)
        if distance > shape.diverges:
            return self.chance
        final = max(0.0, shape.ceiling - loss - self.chance)
        pace = min(8.0, max(0.5, shape.speed * 10 ** (0.5 * distance)))
        return self.chance + final * (1 - math.exp(-pace * step / MAX_STEPS)) / (1 - math.exp(-pace))

    def validation(self, method: str, config: Config, step: int, seed: int) -> float:
        """What a trial with that seed measures on validation."""
        score = self._of_seed(method, config, step, seed)
        spread = math.sqrt(score * (1 - score) / ROWS["validation"])
        luck = math.sqrt(SHARED) * _normal(self.seed, "all") + math.sqrt(OWN) * _normal(self.seed, method)
        alone = 0.9 * _normal(seed, "rows") + math.sqrt(1 - 0.9**2) * _normal(seed, "rows", step)
        return score + spread * (luck + math.sqrt(1 - SHARED - OWN) * alone)

    def test(self, method: str, config: Config, seed: int) -> FloatArray:
        """`[ROWS["test"]]`, 1 where the finished trial answers a row, else 0; its mean over rows is the trial's score."""
        count = ROWS["test"]
        hard = math.sqrt(SHARED) * np.random.default_rng(derive(self.seed, "test")).standard_normal(count)
        hard += math.sqrt(OWN) * np.random.default_rng(derive(self.seed, "test", method)).standard_normal(
            count
        )
        hard += math.sqrt(1 - SHARED - OWN) * np.random.default_rng(derive(seed, "test")).standard_normal(
            count
        )
        answered: FloatArray = (hard < stats.norm.ppf(self._of_seed(method, config, MAX_STEPS, seed))).astype(
            float
        )
        return answered

    def _of_seed(self, method: str, config: Config, step: int, seed: int) -> float:
        score = self.true(method, config, step)
        luck = self.seed_std * _normal(seed, "seed") if score > self.chance else 0.0
        return min(0.999, max(0.001, score + luck))


def draw(seed: int, planted: str | None = None, margin: float = 0.0) -> Surface:
    """A surface.

    Args:
        seed: of everything in it.
        planted: method whose ceiling is `margin` above all others'.
        margin: as said.
    """
    shapes = {}
    for method in METHODS:
        pick = random.Random(derive(seed, "shape", method))
        rates = methods.get(method).Config.space()["learning_rate"]
        low, high = math.log10(rates.low), math.log10(rates.high)  # type: ignore[union-attr]
        shapes[method] = Shape(
            ceiling=pick.uniform(0.84, 0.88) - (0.04 if method == "head_only" else 0.0),
            rate=low + (high - low) * pick.uniform(0.25, 0.85),
            shift=-pick.uniform(0.0, 0.5),
            narrow=pick.uniform(0.04, 0.1),
            gain=0.0 if method == "head_only" else pick.uniform(0.01, 0.04),
            enough=pick.uniform(1.0, 1.8),
            diverges=pick.uniform(0.4, 0.8),
            speed=pick.uniform(2.0, 5.0),
        )
    if planted is not None:
        best = max(shape.ceiling for method, shape in shapes.items() if method != planted)
        shapes[planted] = Shape(**{**vars(shapes[planted]), "ceiling": best + margin})
    return Surface(derive(seed, "rows"), shapes)


def shuffled(seed: int) -> Surface:
    """A surface of labels that were shuffled, four of them: whatever is trained, its score is chance."""
    nothing = Shape(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    return Surface(derive(seed, "rows"), dict.fromkeys(METHODS, nothing), chance=0.25, seed_std=0.0)


def deployed(method: str, config: Config) -> int:
    """Parameters that serving needs, heads left out."""
    tokens = int(config.get("num_virtual_tokens", 0))
    layers = {"head_only": 0, "prefix_tuning": LAYERS, "p_tuning_v2": 2 * LAYERS}.get(method, 1)
    return tokens * HIDDEN * layers * (2 if config.get("parameterization") == "mlp" else 1)


def _normal(seed: int, *names: str | int) -> float:
    return random.Random(derive(seed, *names)).gauss(0, 1)
