"""Proposes the next configuration of a method, and tries none twice.

The sampler works on a copy of the method's trials in memory, so a proposal can be checked before it becomes a trial.
The copy keeps only the best and the latest trials of a large study, so a proposal does not become slower. That loses
little: TPE's good group has at most 25 members, and 400 trials show the density of its bad group as well as 4,000.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from methods.space import Choice, Float, Int, Range, Scalar
from search.config.spaces import Space
from search.config.study_config import SearchConfig
from search.storage.trials import Directions
from search.strategy import grid
from search.strategy.gp_sampler import CHANCE, GPSampler

Resolve = Callable[[Mapping[str, Scalar]], dict[str, Any]]

_ATTEMPTS = 5
"""How often the sampler is asked for a new configuration before one is drawn from the space."""
_RANDOM_ATTEMPTS = 200
_BEST, _LATEST = 100, 400
_MOST_STARTUP = 4
"""Trials around the default before the Gaussian process proposes any, the default itself included."""
_DEPLOYED = 1
"""The place of the deployed parameters among a trial's values."""


class Proposal(NamedTuple):
    """Parameters to try, and what the sampler stores with the trial (for NSGA-II its generation)."""

    params: dict[str, Scalar]
    system: dict[str, Any]


class Proposals:
    """Proposes configurations of one method.

    Args:
        search: the study's section `search`.
        ranges: the hyperparameters that are searched, with their ranges.
        directions: the directions of a trial's values: the score, the deployed parameters, and measured costs.
        default: the published default.
        resolve: turns parameters into the configuration and the loss weights of the trial.
        seed: takes further names and returns a seed for the method's sampler.
    """

    def __init__(
        self,
        search: SearchConfig,
        ranges: Mapping[str, Range],
        directions: Directions,
        default: Mapping[str, Scalar],
        resolve: Resolve,
        seed: Callable[..., int],
    ) -> None:
        self._search, self._ranges, self._default = search, dict(ranges), dict(default)
        self._resolve, self._seed = resolve, seed
        every = range(len(directions))
        self._objectives = [n for n in every if n != _DEPLOYED or search.sampler == "nsga2"]
        self._directions = [directions[n] for n in self._objectives]
        self._distributions = distributions(Space({}, self._ranges))
        self._tried: set[str] = set()
        self._known: dict[int, FrozenTrial] = {}
        self._copies: dict[int, int] = {}
        self._copy = self._new_copy()
        self._points: Iterator[dict[str, Scalar]] | None = (
            None if grid.size(self._ranges) is None else grid.points(self._ranges)
        )

    def learn(self, trial: FrozenTrial, curve: Mapping[int, float], chance: float = -math.inf) -> None:
        """Tells the sampler about a trial that was started or has ended.

        Args:
            trial: as it is stored.
            curve: its validation scores by step.
            chance: the score up to which it has not shown that it learned anything.
        """
        if "config" in trial.user_attrs:
            facts = {name: trial.user_attrs[name] for name in ("config", "loss_weights")}
            self._tried.add(fingerprint(facts))
        known = self._known[trial.number] = self._bare(trial, curve, chance)
        if trial.number in self._copies and trial.state.is_finished():
            storage, number = self._copy._storage, self._copies[trial.number]
            for step, score in known.intermediate_values.items():
                storage.set_trial_intermediate_value(number, step, score)
            storage.set_trial_user_attr(number, CHANCE, chance)
            storage.set_trial_state_values(number, known.state, known.values)
        elif trial.number not in self._copies:
            self._copies[trial.number] = self._add(known)
        if len(self._known) > 1.2 * (_BEST + _LATEST):
            self._forget()

    def next(self, count: int) -> Proposal | None:
        """Proposes parameters that were not tried yet; None if none are left.

        Args:
            count: the number of trials of the method so far. It sets the sampler's seed, so that a restart does not
                repeat the first proposals.
        """
        if self._search.sampler != "grid":
            for attempt in range(_ATTEMPTS):
                if self._is_new((proposal := self._ask(count, attempt)).params):
                    return proposal
        params = self._untried(count)
        return None if params is None else Proposal(params, {})

    def _ask(self, count: int, attempt: int) -> Proposal:
        self._copy.sampler = self._sampler(self._seed(count, attempt) if attempt else self._seed(count))
        asked = self._copy.ask(self._distributions)
        frozen = self._copy._storage.get_trial(asked._trial_id)
        # Drop it from the copy, where no other trial has failed: `learn` adds it again, unless it was tried already.
        self._copy._storage.set_trial_state_values(asked._trial_id, TrialState.FAIL)
        return Proposal(dict(frozen.params), dict(frozen.system_attrs))

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        budget = self._search.trials_per_method
        startup = min(10, budget // 3)
        match self._search.sampler:
            case "gp":
                return GPSampler(self._distributions, self._default, min(_MOST_STARTUP, startup), seed)
            case "nsga2":  # the budget must hold several generations
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, budget // 5)))
            case "tpe":  # one hyperparameter at a time: with few trials this is better than jointly
                return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=False)
            case _:
                return optuna.samplers.RandomSampler(seed=seed)

    def _untried(self, count: int) -> dict[str, Scalar] | None:
        """Finds new parameters in the space without the sampler; None if there are none."""
        if self._points is not None:
            return next((params for params in self._points if self._is_new(params)), None)
        sampler = optuna.samplers.RandomSampler(seed=self._seed(count, "untried"))
        for _ in range(_RANDOM_ATTEMPTS):
            params = {
                name: sampler.sample_independent(self._copy, _NO_TRIAL, name, distribution)
                for name, distribution in self._distributions.items()
            }
            if self._is_new(params):
                return params
        return None

    def _is_new(self, params: Mapping[str, Scalar]) -> bool:
        return fingerprint(self._resolve(params)) not in self._tried

    def _new_copy(self) -> optuna.Study:
        return optuna.create_study(storage=optuna.storages.InMemoryStorage(), directions=self._directions)

    def _add(self, trial: FrozenTrial) -> int:
        added: int = self._copy._storage.create_new_trial(self._copy._study_id, template_trial=trial)
        return added

    def _bare(self, trial: FrozenTrial, curve: Mapping[int, float], chance: float) -> FrozenTrial:
        """A copy of a trial with only what samplers look at.

        One that failed looks like one that was stopped before its first evaluation: its configuration is not to be repeated.
        """
        failed = trial.state == TrialState.FAIL
        shown = trial.state.is_finished() and len(self._objectives) == 1
        return FrozenTrial(
            number=trial.number,
            trial_id=-1,
            state=TrialState.PRUNED if failed else trial.state,
            value=None,
            values=None if trial.values is None else [trial.values[n] for n in self._objectives],
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={CHANCE: chance},
            system_attrs={k: v for k, v in trial.system_attrs.items() if k != "fixed_params"},
            intermediate_values=dict(curve) if shown and not failed else {},
        )

    def _forget(self) -> None:
        """Keeps in the copy only running trials, the best complete ones and the latest."""
        known = list(self._known.values())
        running = [trial for trial in known if not trial.state.is_finished()]
        best = sorted((t for t in known if t.state == TrialState.COMPLETE), key=lambda t: -t.values[0])
        cheap = sorted(best, key=lambda t: (t.values[1:2], -t.values[0]))
        kept = {t.number: t for t in itertools.chain(running, best[:_BEST], _front(cheap), known[-_LATEST:])}
        self._known = dict(sorted(kept.items()))
        self._copy = self._new_copy()
        self._copies = {number: self._add(trial) for number, trial in self._known.items()}


def _front(by_cost: list[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Yields the trials that score higher than every cheaper one; `by_cost` is sorted by deployed parameters."""
    best = -math.inf
    for trial in by_cost:
        if trial.values[0] > best:
            best = trial.values[0]
            yield trial


_NO_TRIAL = optuna.trial.create_trial(state=TrialState.FAIL)


def fingerprint(facts: Mapping[str, Any]) -> str:
    """A text that is equal for equal trials; takes what `spaces.resolved` returns. Loss shares are rounded."""
    shares = {task: round(share, 9) for task, share in facts["loss_weights"].items()}
    return json.dumps({**facts["config"], "loss_weights": shares}, sort_keys=True)


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """Optuna's distribution of each searched hyperparameter."""
    return {name: _distribution(range_) for name, range_ in space.ranges.items()}


def _distribution(range_: Range) -> optuna.distributions.BaseDistribution:
    match range_:
        case Float(low, high, log):
            return optuna.distributions.FloatDistribution(low, high, log=log)
        case Int(low, high, log):
            return optuna.distributions.IntDistribution(low, high, log=log)
        case Choice(choices):
            return optuna.distributions.CategoricalDistribution(choices)
