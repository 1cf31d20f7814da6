"""Pseudo-values as they are defined: the metric is computed again without each example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def without(examples: Any, number: int) -> Any:
    return [example for index, example in enumerate(examples) if index != number]


def pseudo_values(metric: Callable[..., float], *columns: Any) -> list[float]:
    """E theta - (E - 1) theta_e for each example e; `columns` are the metric's arguments, one value per example."""
    count, whole = len(columns[0]), metric(*columns)
    return [
        count * whole - (count - 1) * metric(*(without(column, number) for column in columns))
        for number in range(count)
    ]


def draw(seed: int, right: list[Any], wrong: float, among: list[Any]) -> list[Any]:
    """Answers of which a share is drawn anew."""
    generator = np.random.default_rng(seed)
    return [among[generator.integers(len(among))] if generator.random() < wrong else each for each in right]
