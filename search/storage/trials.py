"""The trials of one method and stage, in the Optuna storage and in this process's memory.

The storage has only one writer, so the writer need not read back what it wrote; with thousands of trials that would
take most of its time. A process that only reads must open the study again to see changes.

Evaluations are user attributes of the trial, since `trial.report` refuses several objectives. What is learned after a
trial's end (test scores, run ids) is a user attribute of the study, since Optuna's finished trials cannot be changed.
"""

from __future__ import annotations

import copy
import math
import threading
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from methods.space import Scalar
from search.storage.optuna_storage import MADE

__all__ = ["BaseDistribution", "BaseStorage", "Directions", "FrozenTrial", "TrialState", "Trials"]

Directions = list[Literal["maximize", "minimize"]]

REPLACES = "replaces"
"""Name of the fact of a trial that is another one's second try: the other's number."""
STEP = "step:"
"""Prefix of the fact that holds the evaluation at a step."""


class Trials:
    """The trials by number, and facts about them. Creates the Optuna study if it does not exist.

    Args:
        storage: the Optuna storage.
        name: the name of the Optuna study.
        directions: the directions of its objectives.

    Attributes:
        states: how many trials are in each state.
        facts: facts of the whole study, and late facts of its trials under `<name>:<number>`.
        at_step: validation scores at each step, by trial number.
        replaced: the numbers of trials that count no more, since another one is their second try.
    """

    def __init__(self, storage: BaseStorage, name: str, directions: Directions) -> None:
        study = optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True
        )
        self._study, self._storage, self._id = study, storage, study._study_id
        self._writing = threading.RLock()
        self.facts: dict[str, Any] = dict(study.user_attrs)
        self.states: Counter[TrialState] = Counter()
        self.at_step: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self.replaced: set[int] = set()
        self._all: list[FrozenTrial] = []
        for trial in sorted(storage.get_all_trials(self._id, deepcopy=False), key=lambda t: t.number):
            self._put(trial)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> FrozenTrial:
        return self._all[number]

    @property
    def started(self) -> int:
        """The number of started trials; enqueued ones, such as the default, are waiting, and replaced ones do not count."""
        return len(self) - self.states[TrialState.WAITING] - len(self.replaced)

    def all(self) -> list[FrozenTrial]:
        """All trials in the order of their numbers; the objects do not change later."""
        return self._all[:]

    def waiting(self) -> FrozenTrial | None:
        """The first enqueued trial that has not started, or None."""
        if not self.states[TrialState.WAITING]:
            return None
        return next(trial for trial in self._all if trial.state == TrialState.WAITING)

    def name_objectives(self, names: Sequence[str]) -> None:
        """Names the objectives for optuna-dashboard and Optuna's plots."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names(list(names))

    def enqueue(self, params: Mapping[str, Scalar], **facts: Any) -> None:
        """Adds a trial that will start before any other is proposed."""
        self._create(
            optuna.trial.create_trial(
                state=TrialState.WAITING, system_attrs={"fixed_params": dict(params)}, user_attrs=facts
            )
        )

    def start_waiting(
        self, number: int, distributions: Mapping[str, BaseDistribution], defaults: Mapping[str, Scalar]
    ) -> None:
        """Starts an enqueued trial, or one whose start a crash interrupted; missing parameters get the defaults."""
        trial = self._all[number]
        wanted = {**defaults, **trial.system_attrs.get("fixed_params", {})}
        with self._writing:
            if trial.state == TrialState.WAITING:
                self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            for name, distribution in distributions.items():
                if name not in trial.params:
                    internal = distribution.to_internal_repr(wanted[name])
                    self._storage.set_trial_param(trial._trial_id, name, internal, distribution)
            self._put(self._storage.get_trial(trial._trial_id))

    def start(
        self,
        params: Mapping[str, Scalar],
        distributions: Mapping[str, BaseDistribution],
        system: Mapping[str, Any],
        **facts: Any,
    ) -> int:
        """Adds a running trial with all its parameters in one call, and returns its number."""
        return self._create(
            FrozenTrial(
                number=-1,
                trial_id=-1,
                state=TrialState.RUNNING,
                value=None,
                datetime_start=datetime.now(),
                datetime_complete=None,
                params=dict(params),
                distributions=dict(distributions),
                user_attrs=facts,
                system_attrs=dict(system),
                intermediate_values={},
            )
        )

    def record(self, number: int, **facts: Any) -> None:
        """Stores facts of a running trial."""
        with self._writing:
            trial = copy.copy(self._all[number])
            for name, value in facts.items():
                self._storage.set_trial_user_attr(trial._trial_id, name, value)
            trial.user_attrs = {**trial.user_attrs, **facts}
            self._put(trial)

    def end(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        """Ends a trial.

        Args:
            number: the trial's number.
            state: COMPLETE, PRUNED or FAIL.
            values: the values of the objectives if the state is COMPLETE, else None.
        """
        assert (values is not None) == (state == TrialState.COMPLETE)
        assert values is None or all(map(math.isfinite, values)), f"values must be finite, not {values}"
        with self._writing:
            trial_id = self._all[number]._trial_id
            self._storage.set_trial_state_values(trial_id, state, values)
            self._put(self._storage.get_trial(trial_id))  # read back for the time of its end

    def record_fact(self, name: str, value: Any) -> None:
        """Stores a fact of the whole study, or a late fact of a trial."""
        with self._writing:
            self._storage.set_study_user_attr(self._id, name, value)
            self.facts = {**self.facts, name: value}

    def fact_now(self, name: str) -> Any:
        """Reads a fact of the whole study from the storage, where another driver may have written it; or None."""
        return self._storage.get_study_user_attrs(self._id).get(name)

    def _create(self, trial: FrozenTrial) -> int:
        with self._writing:
            trial.system_attrs = {**trial.system_attrs, MADE: uuid.uuid4().hex}
            trial_id = self._storage.create_new_trial(self._id, template_trial=trial)
            self._put(self._storage.get_trial(trial_id))
        return len(self._all) - 1

    def _put(self, trial: FrozenTrial) -> None:
        """Updates the memory with a new or changed trial."""
        if trial.number < len(self._all):
            self.states[self._all[trial.number].state] -= 1
            self._all[trial.number] = trial
        else:
            assert trial.number == len(self._all), "numbers have no gaps"
            self._all.append(trial)
        self.states[trial.state] += 1
        if REPLACES in trial.user_attrs:
            self.replaced.add(trial.user_attrs[REPLACES])
        for name, value in trial.user_attrs.items():
            if name.startswith(STEP) and "validation" in value:
                self.at_step[int(name[len(STEP) :])][trial.number] = value["validation"]
