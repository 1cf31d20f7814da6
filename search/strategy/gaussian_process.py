"""A Gaussian process of the scores of a method's configurations, for a search of few trials with noisy scores.

Few trials do not determine the length scales and the noise of a process. So this one has no point estimate of them: it averages
over many settings, drawn from a prior and weighted by the likelihood of the scores. Snoek et al. (2012), "Practical Bayesian
Optimization of Machine Learning Algorithms", https://arxiv.org/abs/1206.2944, section 3.2.

Letters: N trials, C options to try next, D hyperparameters, F features (a number has one, a choice one for each of its values),
S settings of the process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy import stats
from scipy.stats import qmc

FloatArray = npt.NDArray[np.float64]
Params = Mapping[str, Any]

_SETTINGS, _KEPT = 64, 12
"""How many settings are weighed, and how many of the heaviest are used."""
_LENGTH, _LENGTH_SPREAD = 0.5, 0.7
"""Median of the length scales' log-normal prior, in widths of a range, and its standard deviation in logarithms."""
_CHOICE_LENGTH = 1.0
"""The median between two values of a choice, which are 1 apart."""
_NOISE, _NOISE_SPREAD = 0.25, 0.6
"""The same of the noise's standard deviation, in standard deviations of the scores."""
_SCALE_SPREAD = 0.4
_LOWEST = 6.0
"""No score counts as worse than the best less this many times its distance to the median.

A trial that diverged says where not to look; how bad it is says nothing about the others.
"""


class Encoding:
    """Configurations as points: a number in [0, 1], on a log scale if it is sampled so; a choice as 0s and a 1.

    Args:
        distributions: the distribution of each hyperparameter.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.distributions = dict(distributions)
        counts = [
            len(each.choices) if isinstance(each, CategoricalDistribution) else 1
            for each in self.distributions.values()
        ]
        self.choice_D = np.array(
            [isinstance(each, CategoricalDistribution) for each in self.distributions.values()]
        )
        self.owner_F = np.repeat(np.arange(len(counts)), counts)

    def points(self, configurations: Sequence[Params]) -> FloatArray:
        """`[N, F]` of N configurations."""
        rows = [
            [
                feature
                for name, each in self.distributions.items()
                for feature in _features(each, params[name])
            ]
            for params in configurations
        ]
        return np.array(rows, dtype=float).reshape(len(configurations), len(self.owner_F))

    def distances(self, x_NF: FloatArray, y_CF: FloatArray) -> FloatArray:
        """`[D, N, C]`, the squared distance of each hyperparameter; that of two values of a choice is 1."""
        square_NCF = (x_NF[:, None] - y_CF[None]) ** 2
        parts = [square_NCF[..., self.owner_F == d].sum(-1) for d in range(len(self.choice_D))]
        return np.stack(
            [part / 2 if choice else part for part, choice in zip(parts, self.choice_D, strict=True)]
        )


def unit(distribution: BaseDistribution, value: Any) -> float:
    """A number's place in its range, from 0 to 1."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    scale = math.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return (scale(value) - low) / (high - low) if high > low else 0.5


def at(distribution: BaseDistribution, place: float) -> Any:
    """The number at a place in a range; places outside of [0, 1] are its ends."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    scale, back = (math.log, math.exp) if distribution.log else (float, float)
    low, high = scale(distribution.low), scale(distribution.high)
    value = back(low + min(1.0, max(0.0, place)) * (high - low))
    value = round(value) if isinstance(distribution, IntDistribution) else value
    return min(max(value, distribution.low), distribution.high)


def _features(distribution: BaseDistribution, value: Any) -> list[float]:
    if isinstance(distribution, CategoricalDistribution):
        return [
            float(index == distribution.choices.index(value)) for index in range(len(distribution.choices))
        ]
    return [unit(distribution, value)]


class GaussianProcess:
    """A Gaussian process with a Matern 5/2 kernel, averaged over its settings.

    Args:
        encoding: of the space.
        configurations: the N configurations that have a score.
        scores: their scores, higher is better.
        pending: configurations that have no score yet; each counts with the score to be expected of it, so that
            what is tried next lies elsewhere.
    """

    def __init__(
        self,
        encoding: Encoding,
        configurations: Sequence[Params],
        scores: Sequence[float],
        pending: Sequence[Params] = (),
    ) -> None:
        self._encoding = encoding
        known_N = np.array(scores, dtype=float)
        best = known_N.max()
        known_N = np.maximum(known_N, best - _LOWEST * (best - np.median(known_N)))
        self._center, self._spread = float(known_N.mean()), max(float(known_N.std()), 1e-6)
        self._length_SD, self._scale_S, self._noise_S = _settings(tuple(encoding.choice_D.tolist()))
        self._x_NF = encoding.points(configurations)
        self._y_SN = np.tile((known_N - self._center) / self._spread, (_SETTINGS, 1))
        self._weight_S = self._weights(self._solve())
        self._keep(np.argsort(-self._weight_S, kind="stable")[:_KEPT])
        if pending:
            pending_CF = encoding.points(pending)
            self._y_SN = np.concatenate([self._y_SN, self._moments(pending_CF)[0]], axis=1)
            self._x_NF = np.concatenate([self._x_NF, pending_CF])
            self._solve()

    def mean(self, configurations: Sequence[Params]) -> FloatArray:
        """`[C]`, the expected score of each configuration."""
        mean_SC, _ = self._moments(self._encoding.points(configurations))
        return np.asarray(self._center + self._spread * (self._weight_S @ mean_SC))

    def expected_improvement(self, configurations: Sequence[Params]) -> FloatArray:
        """`[C]`, by how much each configuration is expected to exceed the best expected score so far.

        Jones et al. (1998), "Efficient Global Optimization of Expensive Black-Box Functions", eq. 15.
        """
        mean_SC, deviation_SC = self._moments(self._encoding.points(configurations))
        best_S1 = self._moments(self._x_NF)[0].max(axis=1, keepdims=True)
        gap_SC = (mean_SC - best_S1) / deviation_SC
        gain_SC = deviation_SC * (gap_SC * stats.norm.cdf(gap_SC) + stats.norm.pdf(gap_SC))
        return np.asarray(self._spread * (self._weight_S @ gain_SC))

    def _solve(self) -> FloatArray:
        """Factors the covariance of the scores; returns the log-likelihood of the scores, `[S]`."""
        count = len(self._x_NF)
        noise_SNN = ((self._scale_S * self._noise_S) ** 2 + 1e-8)[:, None, None] * np.eye(count)
        self._factor_SNN = np.linalg.cholesky(self._kernel(self._x_NF, self._x_NF) + noise_SNN)
        self._white_SN = np.linalg.solve(self._factor_SNN, self._y_SN[..., None])[..., 0]
        diagonal_SN = np.diagonal(self._factor_SNN, axis1=1, axis2=2)
        return np.asarray(-0.5 * (self._white_SN**2).sum(1) - np.log(diagonal_SN).sum(1))

    @staticmethod
    def _weights(likelihood_S: FloatArray) -> FloatArray:
        weight_S = np.exp(likelihood_S - likelihood_S.max())
        return np.asarray(weight_S / weight_S.sum())

    def _keep(self, kept: npt.NDArray[np.intp]) -> None:
        """Drops all settings but these."""
        self._length_SD, self._scale_S, self._noise_S = (
            self._length_SD[kept],
            self._scale_S[kept],
            self._noise_S[kept],
        )
        self._factor_SNN, self._white_SN = self._factor_SNN[kept], self._white_SN[kept]
        self._y_SN = self._y_SN[kept]
        self._weight_S = self._weight_S[kept] / self._weight_S[kept].sum()

    def _kernel(self, x_NF: FloatArray, y_CF: FloatArray) -> FloatArray:
        """`[S, N, C]`."""
        scaled_SNC = np.tensordot(self._length_SD**-2.0, self._encoding.distances(x_NF, y_CF), 1)
        root_SNC = np.sqrt(5 * scaled_SNC)
        shape_SNC = (1 + root_SNC + root_SNC**2 / 3) * np.exp(-root_SNC)
        return np.asarray(self._scale_S[:, None, None] ** 2 * shape_SNC)

    def _moments(self, points_CF: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`[S, C]` each: mean and standard deviation at points, without the noise of a trial."""
        white_SNC = np.linalg.solve(self._factor_SNN, self._kernel(self._x_NF, points_CF))
        mean_SC = np.einsum("snc,sn->sc", white_SNC, self._white_SN)
        variance_SC = self._scale_S[:, None] ** 2 - (white_SNC**2).sum(1)
        return mean_SC, np.sqrt(np.maximum(variance_SC, 1e-9))


@cache
def _settings(is_choice: tuple[bool, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The settings that are weighed: length scales `[S, D]`, scale `[S]` and noise `[S]`, spread evenly over the prior."""
    even = qmc.Sobol(len(is_choice) + 2, rng=np.random.default_rng(7)).random(_SETTINGS)
    normal = stats.norm.ppf(np.clip(even, 1e-3, 1 - 1e-3))
    median_D = np.where(is_choice, _CHOICE_LENGTH, _LENGTH)
    length_SD = median_D * np.exp(_LENGTH_SPREAD * normal[:, :-2])
    scale_S = np.exp(_SCALE_SPREAD * normal[:, -2])
    noise_S = _NOISE * np.exp(_NOISE_SPREAD * normal[:, -1])
    return length_SD, scale_S, noise_S
