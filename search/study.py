"""The study in its Optuna storage: the truth from which everything else can be made again.

Two Optuna studies per method: `<study>/<method>` holds the search (validation up, deployed parameters
down), `<study>/<method>/finalists` the second stage. Configurations, states, every evaluation with its step, and
the ids of MLflow runs are there; to resume is to open it again. The driver is its only writer.

Optuna's finished trials cannot be changed, and `trial.report` refuses several objectives: evaluations are user
attributes of the trial, and what is learned after its end (test scores, run ids) user attributes of its study.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import finalists, identity, spaces, storage
from search.config import StudyConfig
from search.errors import NoStudyError
from search.seeds import derive
from search.values import Scalar

optuna.logging.set_verbosity(optuna.logging.WARNING)

Stage = Literal["search", "finalists"]

_STEP = "step:"


@dataclass(frozen=True, order=True)
class Key:
    """Names a trial: its method, its stage, and its number within the two."""

    method: str
    stage: Stage
    number: int

    def __str__(self) -> str:
        return f"{self.method}-{'' if self.stage == 'search' else 'final-'}{self.number:03d}"


@dataclass(frozen=True)
class Assignment:
    """A trial to be run: its whole configuration, each task's share of the loss, and its seed."""

    key: Key
    config: dict[str, Scalar]
    loss_weights: dict[str, float]
    seed: int

    @classmethod
    def of(cls, key: Key, facts: Mapping[str, Any]) -> Assignment:
        """From the facts that the storage keeps of a trial."""
        return cls(key, facts["config"], facts["loss_weights"], facts["seed"])


class Study:
    """A study, opened by the one driver that may write to it, or by anyone who only reads.

    Args:
        config: the study file's content.
        must_exist: do not create it.

    Raises:
        NoStudyError: it is not there and must be.
        StudyChangedError: it is there, with other settings.
        StorageError: the storage cannot be reached.
    """

    def __init__(self, config: StudyConfig, *, must_exist: bool = False) -> None:
        self.config = config
        self.spaces = {name: spaces.space(name, given) for name, given in config.methods.items()}
        self.loss_weights = spaces.loss_weights(config.tasks)
        self._writing = threading.RLock()
        self._storage = storage.connect(config.storage_url, create=not must_exist)
        known = set(optuna.get_all_study_names(self._storage))
        if must_exist and not known & {_name(config, method, "search") for method in config.methods}:
            raise NoStudyError(
                f"there is no study {config.study!r} in {config.storage_url}; start it with promptfront launch"
            )
        self._studies: dict[tuple[str, str], optuna.Study] = {}
        for method in config.methods:
            self._studies[method, "search"] = self._open(method, "search")
            self._studies[method, "finalists"] = self._open(method, "finalists")
        self._interrupted = [key for key, trial in self.trials() if trial.state == TrialState.RUNNING]
        self._running: set[Key] = set()

    # What to run next

    def next(self) -> Assignment | Literal["wait", "done"]:
        """The next trial: an interrupted one, else one of the search, else a finalist.

        Returns:
            "wait" while what comes next depends on trials that run, "done" when nothing is left.
        """
        assignment = self._resume() or self._propose() or self._next_finalist()
        if assignment is None:
            return "wait" if self._running else "done"
        self._running.add(assignment.key)
        return assignment

    def finished(self) -> bool:
        """Whether no trial is left to run; the test split may still be unread."""
        if self._interrupted or self._running:
            return False
        for method in self.config.methods:
            ended = [t for t in self.of(method, "search") if t.state.is_finished()]
            if len(ended) < self.config.search.trials_per_method:
                return False
            if finalists.missing(self, method) or any(
                not t.state.is_finished() for t in self.of(method, "finalists")
            ):
                return False
        return True

    def _resume(self) -> Assignment | None:
        """A trial that was running when the last driver ended."""
        return self._assignment(self._interrupted.pop(0)) if self._interrupted else None

    def _propose(self) -> Assignment | None:
        """Asks the sampler of the method that has had the fewest trials."""
        counts = {method: len(self._asked(method)) for method in self.config.methods}
        method = min(counts, key=lambda name: counts[name])
        if counts[method] >= self.config.search.trials_per_method:
            return None
        study = self._studies[method, "search"]
        study.sampler = self._sampler(method, counts[method])
        with self._writing:
            trial = study.ask(self._distributions(method))
        return self._assignment(Key(method, "search", trial.number))

    def _next_finalist(self) -> Assignment | None:
        """A finalist of a method whose search has ended."""
        for method in self.config.methods:
            search = self.of(method, "search")
            if len(search) < self.config.search.trials_per_method or not all(
                t.state.is_finished() for t in search
            ):
                continue
            study = self._studies[method, "finalists"]
            with self._writing:
                for role, number, index in finalists.missing(self, method):
                    facts = {
                        "from": number,
                        "seed_index": index,
                        "config": search[number].user_attrs["config"],
                        "loss_weights": search[number].user_attrs["loss_weights"],
                        "seed": derive(self.config.seed, method, "finalist", number, index),
                    }
                    study.enqueue_trial({}, user_attrs={**facts, "role": role})
                if any(t.state == TrialState.WAITING for t in self.of(method, "finalists")):
                    return self._assignment(Key(method, "finalists", study.ask().number))
        return None

    def _asked(self, method: str) -> list[FrozenTrial]:
        """Search trials that were handed out (the default waits as an enqueued trial until then)."""
        return [t for t in self.of(method, "search") if t.state != TrialState.WAITING]

    def _assignment(self, key: Key) -> Assignment:
        """The trial's configuration and seed; kept with it, since only hyperparameters that vary are in Optuna."""
        trial = self.trial(key)
        if "config" not in trial.user_attrs:
            params = trial.params | self._fill_in(key.method, trial)
            config = spaces.make_config(key.method, params, self.spaces[key.method]).to_dict()
            self.record_facts(
                key,
                seed=derive(self.config.seed, key.method, key.number),
                loss_weights=spaces.normalized(params, self.loss_weights),
                config=config,
            )
            trial = self.trial(key)
        return Assignment.of(key, trial.user_attrs)

    def _distributions(self, method: str) -> dict[str, optuna.distributions.BaseDistribution]:
        return spaces.distributions(self.spaces[method]) | spaces.distributions(self.loss_weights)

    def _defaults(self, method: str) -> dict[str, Scalar]:
        return spaces.default_params(method, self.spaces[method]) | spaces.default_weights(self.loss_weights)

    def _fill_in(self, method: str, trial: FrozenTrial) -> dict[str, Scalar]:
        """Gives a proposal that a crash cut short the defaults of what it lacks, so that its number is not lost."""
        missing = {name: value for name, value in self._defaults(method).items() if name not in trial.params}
        distributions = self._distributions(method)
        with self._writing:
            for name, value in missing.items():
                internal = distributions[name].to_internal_repr(value)
                self._storage.set_trial_param(trial._trial_id, name, internal, distributions[name])
        return missing

    def _sampler(self, method: str, count: int) -> optuna.samplers.BaseSampler:
        """Seeded by how many trials there are, so that a restart does not repeat the first proposals."""
        seed = derive(self.config.seed, method, "sampler", count)
        if self.config.search.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        startup = min(10, self.config.search.trials_per_method // 3)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)

    # What has happened

    def record_facts(self, key: Key, **facts: Any) -> None:
        """Keeps facts of a running trial."""
        trial_id = self.trial(key)._trial_id
        with self._writing:
            for name, value in facts.items():
                self._storage.set_trial_user_attr(trial_id, name, value)

    def record_evaluation(self, key: Key, step: int, evaluation: dict[str, Any]) -> None:
        """Keeps an evaluation of a running trial: validation, loss, task_scores, the method's metrics, seconds."""
        self.record_facts(key, **{f"{_STEP}{step}": evaluation})

    def tell(self, key: Key, state: TrialState, validation: float | None = None, **facts: Any) -> None:
        """Ends a trial as COMPLETE (with its validation score), PRUNED, or FAIL (with the fact `error`)."""
        self.record_facts(key, **facts)
        study = self._studies[key.method, key.stage]
        values: list[float] | None = None
        if state == TrialState.COMPLETE:
            assert validation is not None
            deployed = self.trial(key).user_attrs["deployed_parameters"]
            values = [validation, deployed] if key.stage == "search" else [validation]
        with self._writing:
            study.tell(key.number, values, state=state)
        self._running.discard(key)

    def record_late(self, key: Key, name: str, value: Any) -> None:
        """Keeps a fact of a trial that may have ended."""
        with self._writing:
            self._studies[key.method, key.stage].set_user_attr(f"{name}:{key.number}", value)

    def late(self, key: Key, name: str) -> Any:
        """A fact kept by `record_late`, or None."""
        return self._studies[key.method, key.stage].user_attrs.get(f"{name}:{key.number}")

    def late_facts(self, name: str) -> dict[Key, Any]:
        """The fact `name` of every trial that has it."""
        return {
            Key(method, stage, int(attribute.split(":")[1])): value  # type: ignore[arg-type]
            for (method, stage), study in self._studies.items()
            for attribute, value in study.user_attrs.items()
            if attribute.startswith(f"{name}:")
        }

    def record_whole(self, name: str, value: Any) -> None:
        """Keeps a fact of the study as a whole."""
        with self._writing:
            self._first.set_user_attr(name, value)

    def whole(self, name: str) -> Any:
        """A fact kept by `record_whole`, or None."""
        return self._first.user_attrs.get(name)

    @property
    def _first(self) -> optuna.Study:
        """The Optuna study that keeps what belongs to no single one."""
        return next(iter(self._studies.values()))

    def count_reading(self) -> None:
        """Counts one reading of the test split."""
        with self._writing:
            for method in self.config.methods:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                study = self._studies[method, "finalists"]
                study.set_user_attr("test_readings", [*study.user_attrs.get("test_readings", []), now])

    @property
    def test_readings(self) -> int:
        """How often the test split was read."""
        return max(
            len(self._studies[method, "finalists"].user_attrs.get("test_readings", []))
            for method in self.config.methods
        )

    # Reading

    def trials(self) -> Iterator[tuple[Key, FrozenTrial]]:
        """Every trial, by method, stage and number."""
        for method, stage in self._studies:
            for trial in self.of(method, stage):
                yield Key(method, stage, trial.number), trial  # type: ignore[arg-type]

    def trial(self, key: Key) -> FrozenTrial:
        """One trial."""
        return self.of(key.method, key.stage)[key.number]

    def of(self, method: str, stage: str) -> list[FrozenTrial]:
        """The trials of one method and stage, by number."""
        return self._studies[method, stage].get_trials(deepcopy=False)

    def _open(self, method: str, stage: Stage) -> optuna.Study:
        name = _name(self.config, method, stage)
        directions: list[Literal["maximize", "minimize"]] = ["maximize"]  # the validation score
        if stage == "search":
            directions.append("minimize")  # deployed parameters
        study = optuna.create_study(
            study_name=name, storage=self._storage, directions=directions, load_if_exists=True
        )
        if "identity" not in study.user_attrs:
            study.set_user_attr("identity", identity.of(self.config, method))
            if stage == "search":
                study.enqueue_trial(self._defaults(method))
        identity.refuse_changes(
            self.config.study, study.user_attrs["identity"], identity.of(self.config, method)
        )
        return study


def evaluations(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """The trial's evaluations by step, in their order."""
    found = {
        int(name[len(_STEP) :]): value for name, value in trial.user_attrs.items() if name.startswith(_STEP)
    }
    return dict(sorted(found.items()))


def loss_weights(facts: Mapping[str, Any]) -> dict[str, float]:
    """Each task's share of the loss among a trial's facts, where there are several tasks; `loss_weight.<task>`."""
    weights: dict[str, float] = facts["loss_weights"]
    return {f"loss_weight.{task}": share for task, share in weights.items()} if len(weights) > 1 else {}


def _name(config: StudyConfig, method: str, stage: str) -> str:
    return f"{config.study}/{method}" + ("/finalists" if stage == "finalists" else "")
