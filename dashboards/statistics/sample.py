"""The test scores of a method, as the formulas take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """The test scores of one method.

    Attributes:
        values: [S] the score of each seed.
        tables: for each task [S, U] what each independent unit of the test split adds to the score of each seed: an
            example, or a group of examples that belong together. Empty where the metric has no scores per example.
        freedom: for each task the degrees of freedom of a variance over its units.
        units: for each task the number of its units: examples, or groups.
    """

    values: FloatArray
    tables: tuple[FloatArray, ...] = ()
    freedom: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        tables: Sequence[FloatArray],
        values: FloatArray | None = None,
        weights: FloatArray | None = None,
        groups: Sequence[Sequence[int] | None] | None = None,
    ) -> Sample:
        """A sample from scores per example.

        Args:
            tables: for each task, [S, E] the score of each seed on each example. Their mean over examples is the seed's score on
                the task, up to O(1/E).
            values: [S] the score of each seed; None: the weighted mean of the tables.
            weights: [S, T] what each task counts in the score of each seed; None: 1/T.
            groups: for each task the group of each example, or None where every example is a unit of its own.
        """
        count = len(tables)
        groups = groups or [None] * count
        made, freedom = [], []
        for index, scores in enumerate(tables):
            share = np.full(len(scores), 1 / count) if weights is None else weights[:, index]
            table, free = _units(scores, groups[index])
            made.append(table * share[:, None])
            freedom.append(free)
        if values is None:
            values = np.sum([table.mean(axis=1) for table in made], axis=0)
        return cls(np.asarray(values, dtype=np.float64), tuple(made), tuple(freedom))

    @property
    def mean(self) -> float:
        return float(self.values.mean())


def _units(scores: FloatArray, groups: Sequence[int] | None) -> tuple[FloatArray, float]:
    """[S, U] scores of groups, and the degrees of freedom of their variance.

    The sum of a group's deviations is its score (a ratio of sums, linearized), corrected for the group's share in the mean
    (CR2 of Bell & McCaffrey, Survey Methodology 28, 2002). Where sizes differ, fewer groups carry the variance: the degrees of
    freedom are those of a sum of squares with weights n_g^2 (Satterthwaite).
    """
    if groups is None:
        return scores, scores.shape[1] - 1.0
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    sizes, total = np.bincount(place).astype(np.float64), scores.shape[1]
    if len(names) < 2:
        return scores.mean(axis=1, keepdims=True), 0.0
    mean = scores.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(place, weights=row) for row in scores - mean])
    count = len(names)
    fair = np.sqrt((1 - 1 / count) / (1 - sizes / total))
    freedom = (sizes**2).sum() ** 2 / (sizes**4).sum() - 1
    return mean + sums * fair * count / total, float(max(freedom, 1.0))
