"""Pearson's and Spearman's correlation of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from search.metrics.score import FloatArray, Score, jackknife

IntArray = npt.NDArray[np.intp]

_LEFT = 1e-6
"""Below this share of a spread, what is left of it without an example is summed anew, since rounding would decide."""


def pearson(right: Sequence[float], given: Sequence[float]) -> Score:
    """Pearson's correlation; 0 with a constant, where it is undefined.

    With x and y centered, leaving out example e takes  n/(n-1) x_e y_e  from their sum of products, and the like from
    their sums of squares (Chan, Golub and LeVeque, 1983).

    Args:
        right: the number of each example, `[E]`.
        given: the predicted numbers, `[E]`.
    """
    x_E, y_E = _centered(right), _centered(given)
    if not (x_E.any() and y_E.any()):
        return Score(0.0, [0.0] * len(x_E))
    xy, xx, yy = x_E @ y_E, x_E @ x_E, y_E @ y_E
    share = len(x_E) / (len(x_E) - 1)
    xx_E, yy_E = xx - share * x_E**2, yy - share * y_E**2
    without_E = _correlation(xy - share * x_E * y_E, xx_E, yy_E)
    for e in np.flatnonzero((xx_E < _LEFT * xx) | (yy_E < _LEFT * yy)):  # at most two examples for each
        x_R, y_R = _centered(np.delete(x_E, e)), _centered(np.delete(y_E, e))
        without_E[e] = _correlation(x_R @ y_R, x_R @ x_R, y_R @ y_R)
    return jackknife(float(_correlation(xy, xx, yy)), without_E)


def spearman(right: Sequence[float], given: Sequence[float]) -> Score:
    """Spearman's correlation, of mid-ranks; 0 with a constant, where it is undefined.

    The pseudo-values are theta + IF_e with the influence function of theta = C / sqrt(V W) (Croux and Dehon, 2010, with
    ties). Ranks are those of the split, so an example also moves the others' ranks. With a_j = F(x_j) - 1/2, where F(x_j) is
    the share below x_j plus half of that at it, and u(s, t) = 1 if s < t, 1/2 if s = t, else 0:

        IF_C(e) = a_e b_e - C + mean_j[(u(x_e, x_j) - F(x_j)) b_j] + mean_j[(u(y_e, y_j) - G(y_j)) a_j],

    likewise for the variances V of a and W of b.

    Args:
        right: the number of each example, `[E]`.
        given: the predicted numbers, `[E]`.
    """
    x_E, y_E = _numbered(right), _numbered(given)
    if not (x_E.any() and y_E.any()):
        return Score(0.0, [0.0] * len(x_E))
    a_E, b_E = _mid_ranks(x_E), _mid_ranks(y_E)
    covariance, v, w = (a_E * b_E).mean(), (a_E**2).mean(), (b_E**2).mean()
    of_c_E = a_E * b_E - covariance + _moved(x_E, a_E, b_E) + _moved(y_E, b_E, a_E)
    of_v_E = a_E**2 - v + 2 * _moved(x_E, a_E, a_E)
    of_w_E = b_E**2 - w + 2 * _moved(y_E, b_E, b_E)
    value = float(_correlation(covariance, v, w))
    influence_E = of_c_E / np.sqrt(v * w) - value / 2 * (of_v_E / v + of_w_E / w)
    return Score(value, (value + influence_E).tolist())


def _centered(numbers: Sequence[float] | FloatArray) -> FloatArray:
    """Numbers minus their mean; exactly 0 if they are all the same."""
    found: FloatArray = np.array(numbers, float)
    return found - found.mean() if np.ptp(found) > 0 else np.zeros_like(found)


def _correlation(xy_X: FloatArray, xx_X: FloatArray, yy_X: FloatArray) -> FloatArray:
    spread_X = np.sqrt(np.maximum(xx_X, 0)) * np.sqrt(np.maximum(yy_X, 0))
    found_X = np.divide(xy_X, spread_X, out=np.zeros_like(spread_X), where=spread_X > 0)
    clipped_X: FloatArray = np.clip(found_X, -1, 1)
    return clipped_X


def _numbered(numbers: Sequence[float]) -> IntArray:
    """Which of the distinct values each is, counted from 0 for the smallest."""
    _, found_E = np.unique(np.array(numbers, float), return_inverse=True)
    return found_E.astype(np.intp)


def _mid_ranks(x_E: IntArray) -> FloatArray:
    """F(x_j) - 1/2 of values that are numbered from 0."""
    counts_U = np.bincount(x_E)
    ranks_U: FloatArray = (np.cumsum(counts_U) - counts_U / 2) / len(x_E) - 0.5
    return ranks_U[x_E]


def _moved(x_E: IntArray, a_E: FloatArray, b_E: FloatArray) -> FloatArray:
    """What an example does to the others' ranks of x: the mean over j of (u(x_e, x_j) - F(x_j)) b_j, `[E]`."""
    sums_U = np.bincount(x_E, weights=b_E)
    above_U: FloatArray = sums_U.sum() - np.cumsum(sums_U) + sums_U / 2
    moved_E: FloatArray = (above_U[x_E] - ((a_E + 0.5) * b_E).sum()) / len(x_E)
    return moved_E
