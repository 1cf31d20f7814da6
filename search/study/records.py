"""A study's records in the Optuna storage, from which everything else can be rebuilt.

Each method has two Optuna studies: `<study>/<method>` for the search (maximize validation, minimize deployed
parameters and measured costs) and `<study>/<method>/finalists` for the second stage. They hold configurations, states,
every evaluation with its step, and the ids of MLflow runs. Opening the records resumes the study. Only the driver
writes to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from methods.space import Scalar
from search.config import spaces
from search.config.study_config import StudyConfig
from search.errors import NoStudyError
from search.storage import optuna_storage
from search.storage.trials import STEP, BaseDistribution, Directions, FrozenTrial, Trials, TrialState
from search.strategy import expectation, sampling
from search.study import identity, warm_start
from search.study.readings import ended, known_of

Stage = Literal["search", "finalists"]


@dataclass(frozen=True, order=True)
class Key:
    """Identifies a trial: its method, its stage, and its number within both."""

    method: str
    stage: Stage
    number: int

    def __str__(self) -> str:
        return f"{self.method}-{'' if self.stage == 'search' else 'final-'}{self.number:03d}"


class Records:
    """The trials of a study and their results.

    Args:
        config: the study.
        must_exist: whether to fail, instead of creating the study, if it does not exist.

    Raises:
        NoStudyError: the study must exist and does not, or the study that `search.from` names does not.
        StudyChangedError: the study exists with other settings.
        StorageError: the storage cannot be reached.
    """

    def __init__(self, config: StudyConfig, *, must_exist: bool = False) -> None:
        self.config = config
        self.spaces = {
            name: spaces.space(name, given, config.tasks) for name, given in config.methods.items()
        }
        self.loss_weights = spaces.loss_weights(config.tasks)
        self._storage = optuna_storage.connect(config.storage_url, create=not must_exist)
        known = set(optuna_storage.study_names(self._storage))
        if must_exist and not known & {_name(config, method, "search") for method in config.methods}:
            raise NoStudyError(
                f"there is no study {config.study!r} in {config.storage_url}; start it with promptfront launch"
            )
        self._trials: dict[tuple[str, str], Trials] = {}
        self._expected: dict[str, tuple[int, dict[int, float]]] = {}
        for method in config.methods:
            self._trials[method, "search"] = self._open(method, "search")
            self._trials[method, "finalists"] = self._open(method, "finalists")

    def record_facts(self, key: Key, **facts: Any) -> None:
        """Stores facts of a running trial."""
        self._trials[key.method, key.stage].record(key.number, **facts)

    def record_evaluation(self, key: Key, step: int, evaluation: dict[str, Any], **facts: Any) -> None:
        """Stores an evaluation of a running trial.

        Args:
            key: the trial.
            step: the step of the evaluation.
            evaluation: validation, loss, task_scores, the method's metrics, and the costs: seconds, step_seconds,
                peak_memory_bytes, latency_seconds.
            facts: further facts of the trial.
        """
        self.record_facts(key, **facts, **{f"{STEP}{step}": evaluation})

    def tell(self, key: Key, state: TrialState, validation: float | None = None, **facts: Any) -> None:
        """Ends a trial as COMPLETE (with its validation score), PRUNED, or FAIL (with the fact `error`)."""
        values = None
        if state == TrialState.COMPLETE:
            assert validation is not None
            values = [validation]
            if key.stage == "search":
                known = {**known_of(self.trial(key)), **facts}
                costs, unmeasured = self._costs(key.method, known)
                values += costs
                facts |= {"unmeasured": unmeasured} if unmeasured else {}
        trials = self._trials[key.method, key.stage]
        trials.record(key.number, **facts)
        trials.end(key.number, state, values)

    def _costs(self, method: str, facts: Mapping[str, Any]) -> tuple[list[float], list[str]]:
        """The deployed parameters and the measured costs, and the names of costs that were not measured.

        Such a cost counts as the method's largest, so it neither favours the trial nor makes it infeasible.
        """
        costs, unmeasured = [float(facts["deployed_parameters"])], list[str]()
        for place, name in enumerate(self.config.search.measured_costs, start=2):
            value = facts.get(name)
            if value is None:
                unmeasured.append(name)
                value = max((t.values[place] for t in self.of(method, "search") if t.values), default=0.0)
            costs.append(float(value))
        return costs, unmeasured

    def record_trial_fact(self, key: Key, name: str, value: Any) -> None:
        """Stores a fact of a trial, even one that has ended."""
        self._trials[key.method, key.stage].record_fact(f"{name}:{key.number}", value)

    def fact_of_trial(self, key: Key, name: str) -> Any:
        """The fact stored by `record_trial_fact`, or None."""
        return self._trials[key.method, key.stage].facts.get(f"{name}:{key.number}")

    def facts_of_trials(self, name: str) -> dict[Key, Any]:
        """The fact `name` of every trial that has it."""
        return {
            Key(method, stage, int(attribute.split(":")[1])): value  # type: ignore[arg-type]
            for (method, stage), trials in self._trials.items()
            for attribute, value in trials.facts.items()
            if attribute.startswith(f"{name}:")
        }

    def record_study_fact(self, name: str, value: Any) -> None:
        """Stores a fact of the whole study."""
        self._first.record_fact(name, value)

    def fact_of_study(self, name: str) -> Any:
        """The fact stored by `record_study_fact`, perhaps by another process, or None."""
        return self._first.fact_now(name)

    def known_fact(self, name: str) -> Any:
        """The fact stored by `record_study_fact`, as it was when these records were opened or as they stored it; or None."""
        return self._first.facts.get(name)

    @property
    def _first(self) -> Trials:
        """The Optuna study that holds the facts of the whole study."""
        return next(iter(self._trials.values()))

    def count_reading(self) -> None:
        """Counts one reading of the test split."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        trials = self._trials[next(iter(self.config.methods)), "finalists"]
        trials.record_fact("test_readings", [*trials.facts.get("test_readings", []), now])

    @property
    def test_readings(self) -> int:
        """How often the test split was read."""
        return max(len(trials.facts.get("test_readings", [])) for trials in self._trials.values())

    def record_seconds(self, seconds: float) -> None:
        """Keeps how long trials have run, in all launches."""
        self.record_study_fact("seconds", seconds)

    @property
    def seconds(self) -> float | None:
        """What `record_seconds` kept last; None if an earlier version ran the study."""
        found: float | None = self.fact_of_study("seconds")
        return found

    def record_gpu_seconds(self, seconds: float) -> None:
        """Keeps how long trials have held GPUs, in all launches, times their number."""
        self.record_study_fact("gpu_seconds", seconds)

    @property
    def gpu_seconds(self) -> float:
        """What `record_gpu_seconds` kept last."""
        return float(self.fact_of_study("gpu_seconds") or 0.0)

    # Reading

    def trials(self) -> Iterator[tuple[Key, FrozenTrial]]:
        """Yields every trial with its key, by method, stage and number."""
        for method, stage in self._trials:
            for trial in self.of(method, stage):
                yield Key(method, stage, trial.number), trial  # type: ignore[arg-type]

    def trial(self, key: Key) -> FrozenTrial:
        """The trial with this key."""
        return self._trials[key.method, key.stage][key.number]

    def of(self, method: str, stage: str) -> list[FrozenTrial]:
        """The trials of one method and stage in the order of their numbers."""
        return self._trials[method, stage].all()

    def replaced(self, key: Key) -> bool:
        """Whether the trial counts no more, since another one is its second try."""
        return key.number in self._trials[key.method, key.stage].replaced

    def scores_at(self, method: str, step: int) -> Mapping[int, float]:
        """Validation scores of the method's search trials at a step, by number."""
        return self._trials[method, "search"].at_step[step]

    def expected(self, method: str) -> dict[int, float]:
        """What is to be expected of the method's complete search trials, by number; see search/strategy/expectation.py."""
        trials = [trial for trial in self.of(method, "search") if trial.state.is_finished()]
        count, known = self._expected.get(method, (-1, {}))
        if count != len(trials):
            defaults = self._defaults(method)  # what a version that searched less left at them
            seen = [ended(trial, defaults) for trial in trials]
            known = expectation.expected_of_complete(seen, self._distributions(method))
            self._expected[method] = len(trials), known
        return known

    def _directions(self, stage: Stage) -> Directions:
        """The directions: the score up; in a search also the deployed parameters and the measured costs down."""
        costs = 1 + len(self.config.search.measured_costs) if stage == "search" else 0
        return ["maximize", *(["minimize"] * costs)]  # type: ignore[list-item]

    def _open(self, method: str, stage: Stage) -> Trials:
        trials = Trials(self._storage, _name(self.config, method, stage), self._directions(stage))
        now = identity.identity(self.config, method)
        if "identity" not in trials.facts:
            costs = ["deployed_parameters", *self.config.search.measured_costs] if stage == "search" else []
            trials.name_objectives(["validation", *costs])
            trials.record_fact("identity", now)
            if stage == "search":
                trials.enqueue(self._defaults(method))
        identity.refuse_changes(self.config.study, trials.facts["identity"], now)
        source = self.config.search.from_
        if stage == "search" and source is not None and trials.facts.get("warm_start") != source:
            self._enqueue_from(source, method, trials)
        return trials

    def _enqueue_from(self, source: str, method: str, trials: Trials) -> None:
        """Enqueues the best configurations of an earlier study, before this one proposes any."""
        given = [self._resolved(method, trial.params) for trial in trials.all() if trial.params]
        given.append(self._resolved(method, self._defaults(method)))
        room = self.config.search.trials_per_method - len(trials)
        for params, origin in warm_start.find(
            self.config, self._storage, method, self.spaces[method], self.loss_weights
        ):
            resolved = self._resolved(method, params)
            if resolved not in given and room > 0:
                trials.enqueue(params, origin=origin)
                given.append(resolved)
                room -= 1
        trials.record_fact("warm_start", source)

    def _resolved(self, method: str, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """The whole configuration; it is stored with the trial, since Optuna has only the searched parameters."""
        return spaces.resolved(method, params, self.spaces[method], self.loss_weights)

    def _distributions(self, method: str) -> dict[str, BaseDistribution]:
        return sampling.distributions(self.spaces[method]) | sampling.distributions(self.loss_weights)

    def _defaults(self, method: str) -> dict[str, Scalar]:
        return spaces.default_params(method, self.spaces[method]) | spaces.default_weights(self.loss_weights)


def _name(config: StudyConfig, method: str, stage: str) -> str:
    return f"{config.study}/{method}" + ("/finalists" if stage == "finalists" else "")
