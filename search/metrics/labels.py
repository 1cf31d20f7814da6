"""Metrics of labels: accuracy, macro F1 and Matthews correlation, for one label per text or several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from search.metrics.score import FloatArray, Score, jackknife, mean, ratios

IntArray = npt.NDArray[np.intp]


def accuracy(right: Sequence[object], given: Sequence[object]) -> Score:
    """The share of examples whose answer is right: a label, or a whole set of labels."""
    return mean([float(one == other) for one, other in zip(right, given, strict=True)])


def macro_f1(right: Sequence[int], given: Sequence[int]) -> Score:
    """The mean F1 of the labels that are right or given somewhere, as scikit-learn's.

    Args:
        right: the number of each example's label, `[E]`.
        given: the number of each example's predicted label, `[E]`.
    """
    right_E, given_E = np.array(right), np.array(given)
    hits_E, size = right_E == given_E, int(max(right_E.max(), given_E.max())) + 1
    hits_C = np.bincount(right_E[hits_E], minlength=size)
    both_C = np.bincount(right_E, minlength=size) + np.bincount(given_E, minlength=size)
    f1_C = _f1(hits_C, both_C, np.zeros(size))
    # By how much a label's F1 changes without one example that has it right, or that has it wrong.
    hit_C = _f1(hits_C - 1, both_C - 2, f1_C) - f1_C
    miss_C = _f1(hits_C, both_C - 1, f1_C) - f1_C
    changes_E = np.where(hits_E, hit_C[right_E], miss_C[right_E] + miss_C[given_E])
    classes = (both_C > 0).sum()
    value = f1_C.sum() / classes
    return jackknife(float(value), value + changes_E / classes)


def macro_f1_of_sets(right: Sequence[Sequence[float]], given: Sequence[Sequence[float]]) -> Score:
    """The mean F1 of all labels, those that are nowhere among them, as scikit-learn's.

    Args:
        right: a 0 or 1 for each example and label, `[E, C]`.
        given: the same for the predictions, `[E, C]`.
    """
    right_EC, given_EC = np.array(right, float), np.array(given, float)
    return macro_f1_of_counts(right_EC * given_EC, right_EC + given_EC, absent=True)


def macro_f1_of_counts(hits_EC: FloatArray, both_EC: FloatArray, absent: bool = False) -> Score:
    """The mean over classes of F1 = 2 tp / (2 tp + fp + fn).

    Args:
        hits_EC: tp, how often each example has the class right.
        both_EC: 2 tp + fp + fn, how often the class is right plus how often it is given.
        absent: whether a class that is nowhere counts, as 0; else the mean is over the others.
    """
    if not absent:
        there_C = both_EC.sum(0) > 0
        hits_EC, both_EC = hits_EC[:, there_C], both_EC[:, there_C]
    values_C, without_EC = ratios(2 * hits_EC, both_EC)
    return jackknife(float(values_C.mean()), without_EC.mean(1))


def matthews(right: Sequence[int], given: Sequence[int]) -> Score:
    """Matthews correlation of any number of labels (Gorodkin, 2004); 0 where it is undefined.

    With n examples, c of them right, t_k times label k right and p_k times given, it is
    (c n - t.p) / sqrt((n^2 - p.p) (n^2 - t.t)). Leaving out an example changes each sum by a term of its own.

    Args:
        right: the number of each example's label, `[E]`.
        given: the number of each example's predicted label, `[E]`.
    """
    right_E, given_E = np.array(right), np.array(given)
    hits_E = (right_E == given_E).astype(float)
    n, c, size = float(len(hits_E)), float(hits_E.sum()), int(max(right_E.max(), given_E.max())) + 1
    t_C, p_C = (np.bincount(labels_E, minlength=size).astype(float) for labels_E in (right_E, given_E))
    t_E, p_E = t_C[right_E], p_C[given_E]
    tp, tt, pp = t_C @ p_C, t_C @ t_C, p_C @ p_C
    tp_E = tp - t_C[given_E] - p_C[right_E] + hits_E
    value = _matthews(n, np.array([c]), np.array([tp]), np.array([tt]), np.array([pp]))
    without_E = _matthews(n - 1, c - hits_E, tp_E, tt - 2 * t_E + 1, pp - 2 * p_E + 1)
    return jackknife(float(value[0]), without_E)


def _matthews(n: float, c_X: FloatArray, tp_X: FloatArray, tt_X: FloatArray, pp_X: FloatArray) -> FloatArray:
    spread_X = np.sqrt((n * n - pp_X) * (n * n - tt_X))
    return np.divide(c_X * n - tp_X, spread_X, out=np.zeros_like(spread_X), where=spread_X > 0)


def _f1(hits_C: IntArray, both_C: IntArray, default_C: FloatArray) -> FloatArray:
    return np.divide(2 * hits_C, both_C, out=default_C.copy(), where=both_C > 0)
