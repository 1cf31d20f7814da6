"""A score and its pseudo-values, and what most metrics are made of: means and ratios of sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A metric's value on a split.

    Attributes:
        value: the score, higher is better.
        examples: a pseudo-value for each example, whose mean is `value` up to O(1/E). None only if a metric of another
            package has none.
    """

    value: float
    examples: list[float] | None


def mean(values: Sequence[float]) -> Score:
    """The score that is a mean over examples, `[E]`; each is its own pseudo-value."""
    return Score(fmean(values), [float(value) for value in values])


def jackknife(value: float, without_E: FloatArray) -> Score:
    """The score with the jackknife's pseudo-values (Tukey, 1958).

    Args:
        value: theta.
        without_E: theta_e for each example. Of one example alone there is none, and any value will do.
    """
    examples_E = value + (len(without_E) - 1) * (value - without_E)
    return Score(float(value), examples_E.tolist())


def ratio(over_E: FloatArray, under_E: FloatArray) -> Score:
    """The score that is a ratio of sums, such as right words per word.

    Args:
        over_E: what each example adds above the line.
        under_E: what it adds below; both are 0 or more.
    """
    value, without_E = ratios(over_E[:, None], under_E[:, None])
    return jackknife(float(value[0]), without_E[:, 0])


def ratios(over_EX: FloatArray, under_EX: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ratios of sums, `[X]`, and each without one example, `[E, X]`.

    A ratio whose sum below the line is 0 is 0. Where that is so only without an example, the ratio keeps its value: the
    others say nothing of it.
    """
    over_X, under_X = over_EX.sum(0), under_EX.sum(0)
    values_X = np.divide(over_X, under_X, out=np.zeros_like(over_X), where=under_X > 0)
    over_EX, under_EX = over_X - over_EX, under_X - under_EX
    kept_EX = np.broadcast_to(values_X, over_EX.shape).copy()
    return values_X, np.divide(over_EX, under_EX, out=kept_EX, where=under_EX > 0)
