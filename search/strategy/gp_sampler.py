"""Optuna sampler for few trials with noisy scores: draws around a default, then a Gaussian process of the scores.

It differs from Optuna's own GPSampler where a search of 10 to 30 trials gains from it (docs/search_quality.md): the first trials
are drawn around a known good configuration instead of anywhere, as priors of experts are used by Hvarfner et al. (2022), "piBO",
https://arxiv.org/abs/2204.11051; the process is averaged over its settings (search/strategy/gaussian_process.py); and trials that
were stopped early or failed count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.strategy.expectation import Ended, expected_scores, few
from search.strategy.gaussian_process import Encoding, FloatArray, GaussianProcess, Params, at, unit

_AROUND = 0.25
"""Standard deviation of the draws around the default, in widths of a range."""
_ANYWHERE, _NEAR = 300, 40
"""Options drawn from the whole space, and around each of the `_BEST` configurations so far."""
_BEST = 4
_STEP, _SAME = 0.1, 0.8
"""Standard deviation of a number's change around a good configuration, and how often a choice stays."""
_CORNER = 0.05
"""Weight of the sum of the objectives beside the worst of them (Knowles 2006, section 4.1)."""

CHANCE = "chance"
"""Name of the trial's attribute that holds the score up to which it has not shown that it learned anything."""


class GPSampler(optuna.samplers.BaseSampler):
    """Proposes configurations of a space, for one or more objectives.

    Several objectives become one by random weights, anew for each proposal. Knowles (2006), "ParEGO",
    https://doi.org/10.1109/TEVC.2005.851274, eq. 2.

    Args:
        distributions: the distribution of each hyperparameter.
        default: the configuration around which the first trials are drawn.
        n_startup_trials: the trials that must have begun before the process proposes one.
        seed: of everything random.
    """

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], default: Params, n_startup_trials: int, seed: int
    ) -> None:
        self._distributions, self._default = dict(distributions), default
        self._n_startup_trials = n_startup_trials
        self._draw = np.random.default_rng(seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        trials = _others(study, trial)
        scored = any(each.state == TrialState.COMPLETE for each in trials)
        return self._distributions if scored and len(trials) >= self._n_startup_trials else {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        trials = _others(study, trial)
        ended = [self._ended(each) for each in trials if each.state.is_finished()]
        scores = expected_scores(ended) if len(study.directions) == 1 else self._weighted(study, trials)
        known = few([each for each in ended if each.number in scores], scores)
        pending = [self._whole(each) for each in trials if each.state == TrialState.RUNNING]
        process = GaussianProcess(
            Encoding(search_space),
            [each.params for each in known],
            [scores[each.number] for each in known],
            pending,
        )
        tried = [self._whole(each) for each in trials]
        options = [params for params in self._options(known, scores) if params not in tried]
        if not options:
            return {}
        return options[int(np.argmax(process.expected_improvement(options)))]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draws from a normal distribution around the default, on the scale of the range; a choice evenly."""
        if isinstance(param_distribution, CategoricalDistribution):
            return self._choice(param_distribution)
        center = unit(param_distribution, self._default[param_name])
        place = math.inf
        while not 0 <= place <= 1:
            place = self._draw.normal(center, _AROUND)
        return at(param_distribution, place)

    def _ended(self, trial: FrozenTrial) -> Ended:
        score = float(trial.values[0]) if trial.state == TrialState.COMPLETE else None
        chance = trial.user_attrs.get(CHANCE, -math.inf)
        return Ended(trial.number, self._whole(trial), score, trial.intermediate_values, chance)

    def _whole(self, trial: FrozenTrial) -> Params:
        """A trial's hyperparameters; one of a version that searched fewer had the defaults of the others."""
        return {name: trial.params.get(name, self._default[name]) for name in self._distributions}

    def _options(self, known: Sequence[Ended], scores: Mapping[int, float]) -> list[dict[str, Any]]:
        """Configurations from the whole space, and around the best ones."""
        best = sorted(known, key=lambda trial: -scores[trial.number])[:_BEST]
        found = [self._anywhere() for _ in range(_ANYWHERE)]
        return found + [self._around(trial.params) for trial in best for _ in range(_NEAR)]

    def _anywhere(self) -> dict[str, Any]:
        return {
            name: self._choice(each)
            if isinstance(each, CategoricalDistribution)
            else at(each, self._draw.random())
            for name, each in self._distributions.items()
        }

    def _around(self, params: Params) -> dict[str, Any]:
        found = {}
        for name, each in self._distributions.items():
            if not isinstance(each, CategoricalDistribution):
                found[name] = at(each, self._draw.normal(unit(each, params[name]), _STEP))
            else:
                found[name] = params[name] if self._draw.random() < _SAME else self._choice(each)
        return found

    def _choice(self, distribution: CategoricalDistribution) -> Any:
        return distribution.choices[self._draw.integers(len(distribution.choices))]

    def _weighted(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> dict[int, float]:
        """One score of several objectives, for the trials that have them; costs count by their logarithms."""
        complete = [each for each in trials if each.state == TrialState.COMPLETE]
        columns = [
            _loss([each.values[place] for each in complete], direction)
            for place, direction in enumerate(study.directions)
        ]
        loss_NK = np.stack(columns, axis=1) * self._draw.dirichlet(np.ones(len(columns)))
        score_N = -loss_NK.max(axis=1) - _CORNER * loss_NK.sum(axis=1)
        return {each.number: float(score) for each, score in zip(complete, score_N, strict=True)}


def _loss(values: Sequence[float], direction: StudyDirection) -> FloatArray:
    """An objective as a loss from 0 to 1."""
    column = np.array(values, dtype=float)
    loss = -column if direction == StudyDirection.MAXIMIZE else np.log(np.maximum(column, 1e-12))
    return np.asarray((loss - loss.min()) / max(float(np.ptp(loss)), 1e-12))


def _others(study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """The trials that have begun, but for this one and those that were only asked for (see sampling.py)."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return [each for each in study.get_trials(deepcopy=False, states=states) if each.number != trial.number]
