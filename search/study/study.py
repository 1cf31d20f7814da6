"""The study: its records (`search/study/records.py`), and which trial runs next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from methods.space import Scalar
from search.config.places import checkpoint_place
from search.config.study_config import StudyConfig
from search.job import Job
from search.seeds import derive
from search.storage import optuna_storage, sqlite
from search.storage.trials import REPLACES, FrozenTrial, TrialState
from search.strategy import allocation
from search.strategy.sampling import Proposals
from search.study import finalists, race
from search.study.readings import chance, scores
from search.study.records import Key, Records

ENDED_EARLY = "ended_early"
"""Name of the fact that says why a method's search ended before its budget was used up."""


LOST = "its worker process died three times"
"""How the error begins with which earlier versions ended a trial that was lost from outside."""
_OF_A_TRY = ("config", "loss_weights", "seed", "from", "seed_index", "role", "origin", race.RACE)
"""Names of the facts that a second try has too."""


@dataclass(frozen=True)
class Assignment:
    """A trial to run: its whole configuration, each task's share of the loss, and its seed."""

    key: Key
    config: dict[str, Scalar]
    loss_weights: dict[str, float]
    seed: int

    @classmethod
    def of(cls, key: Key, facts: Mapping[str, Any]) -> Assignment:
        """Makes an assignment from the trial's facts in the storage."""
        return cls(key, facts["config"], facts["loss_weights"], facts["seed"])

    def job(self, config: StudyConfig) -> Job:
        """The worker's job for this trial of the study `config`."""
        return Job(
            study=config.model_dump_json(),
            method=self.key.method,
            stage=self.key.stage,
            number=self.key.number,
            config=self.config,
            loss_weights=self.loss_weights,
            seed=self.seed,
            folder=checkpoint_place(config, str(self.key)),
        )


class Study(Records):
    """A study, opened by its driver or by a process that only reads. It takes the arguments of `Records`."""

    def __init__(self, config: StudyConfig, *, must_exist: bool = False) -> None:
        super().__init__(config, must_exist=must_exist)
        self._proposals: dict[str, Proposals] = {}
        self._interrupted = [key for key, trial in self.trials() if trial.state == TrialState.RUNNING]
        self._running: set[Key] = set()

    def next(self) -> Assignment | Literal["wait", "done"]:
        """Starts the next trial: an interrupted one, else one of the search, else a finalist.

        Returns:
            The trial; "wait" if the next one depends on running trials; "done" if no trial is left, or if
            `search.max_trials` allows no more.
        """
        assignment = self._resume()
        if assignment is None and not self.out_of_trials:
            assignment = self._propose() or self._next_finalist()
        if assignment is None:
            return "wait" if self._running else "done"
        self._running.add(assignment.key)
        return assignment

    def retry_lost(self) -> int:
        """Enqueues second tries of trials that failed because of what happened around them; returns how many.

        Only earlier versions ended such trials. A second try has the same configuration and seed.
        """
        lost = [
            key
            for key, trial in self.trials()
            if str(trial.user_attrs.get("error", "")).startswith(LOST) and not self.replaced(key)
        ]
        for key in lost:
            trial = self.trial(key)
            facts = {name: trial.user_attrs[name] for name in _OF_A_TRY if name in trial.user_attrs}
            self._trials[key.method, key.stage].enqueue(trial.params, **facts, **{REPLACES: key.number})
        return len(lost)

    def finished(self) -> bool:
        """Whether no trial is left to run; the test split may still be unread."""
        if self._interrupted or self._running:
            return False
        return all(
            self._searched(method)
            and not finalists.missing(self, method)
            and all(t.state.is_finished() for t in self.of(method, "finalists"))
            for method in self.config.methods
        )

    @property
    def out_of_trials(self) -> bool:
        """Whether `search.max_trials` is used up."""
        limit = self.config.search.max_trials
        return limit is not None and sum(trials.started for trials in self._trials.values()) >= limit

    def ended_early(self, method: str) -> dict[str, Any] | None:
        """Why a method's search ended before its budget was used up, or None.

        Returns:
            `reason` in words, and either `tried` (the whole space was tried) or the fields of `allocation.Elimination`.
        """
        fact: dict[str, Any] | None = self._trials[method, "search"].facts.get(ENDED_EARLY)
        exhausted = fact is not None and "tried" in fact
        # With another budget, which methods are dropped is decided again.
        return fact if exhausted or (fact and fact["planned"] == self._planned) else None

    def planned(self, method: str) -> int:
        """The planned number of search trials of a method; fewer than its budget if its search ended early."""
        started = self._trials[method, "search"].started
        if self.ended_early(method) is not None:
            return started
        return max(started, self.config.search.trials_per_method)

    @property
    def _planned(self) -> int:
        return self.config.search.trials_per_method * len(self.config.methods)

    def _left(self) -> int:
        """The search trials of all methods together that have not started."""
        return self._planned - sum(self._trials[method, "search"].started for method in self.config.methods)

    def _open_to_trials(self, method: str) -> bool:
        """Whether the method gets more search trials."""
        if self.ended_early(method) is not None:
            return False
        if self.config.search.allocation == "adaptive":
            return self._left() > 0
        return self._trials[method, "search"].started < self.config.search.trials_per_method

    def _searched(self, method: str) -> bool:
        """Whether the method's search has ended."""
        running = self._trials[method, "search"].states[TrialState.RUNNING]
        return not running and not self._open_to_trials(method)

    def _resume(self) -> Assignment | None:
        """Restarts a trial that was running when the last driver ended; None if there is none."""
        return self._start(self._interrupted.pop(0)) if self._interrupted else None

    def _propose(self) -> Assignment | None:
        """Starts the next search trial, for the method with the fewest; None if no method gets more."""
        if self.config.search.allocation == "adaptive":
            self._drop_out()
        while open_ := [method for method in self.config.methods if self._open_to_trials(method)]:
            method = min(open_, key=lambda name: self._trials[name, "search"].started)
            trials = self._trials[method, "search"]
            if (given := trials.waiting()) is not None:
                return self._start(Key(method, "search", given.number))
            proposal = self._proposals_of(method).next(len(trials))
            if proposal is None:
                tried = len(trials)
                reason = f"all {tried} configurations of its space were tried"
                trials.record_fact(ENDED_EARLY, {"reason": reason, "tried": tried})
                continue
            facts = self._resolved(method, proposal.params)
            seed = derive(self.config.seed, method, len(trials))
            number = trials.start(
                proposal.params, self._distributions(method), proposal.system, **facts, seed=seed
            )
            return self._started_assignment(Key(method, "search", number))
        return None

    def _drop_out(self) -> None:
        """Records which methods can no longer reach the leader."""
        scores = {
            method: [
                t.values[0] if t.values else None for t in self.of(method, "search") if t.state.is_finished()
            ]
            for method in self.config.methods
        }
        search, epsilon = self.config.search, self.config.finalists.epsilon
        for method, out in allocation.eliminated(
            scores, search.trials_per_method, self._left(), epsilon
        ).items():
            if self.ended_early(method) is None:
                fact = {"reason": str(out), "planned": self._planned, **out.to_dict()}
                self._trials[method, "search"].record_fact(ENDED_EARLY, fact)

    def _next_finalist(self) -> Assignment | None:
        """Starts the next finalist of a method whose search has ended; None if there is none."""
        for method in self.config.methods:
            if not self._searched(method):
                continue
            trials = self._trials[method, "finalists"]
            if not len(trials) and (file := optuna_storage.file_of(self.config.storage_url)):
                sqlite.back_up(file)  # the search of a method has ended: worth a copy
            for role, number, index in finalists.missing(self, method):
                origin = self._trials[method, "search"][number].user_attrs
                facts = {name: origin[name] for name in ("config", "loss_weights")}
                seed = derive(self.config.seed, method, "finalist", number, index)
                if (kind := race.version(self, method)) is not None:
                    facts[race.RACE] = kind
                trials.enqueue({}, **facts, **{"from": number}, seed_index=index, seed=seed, role=role)
            if (waiting := trials.waiting()) is not None:
                return self._start(Key(method, "finalists", waiting.number))
        return None

    def _start(self, key: Key) -> Assignment:
        """Starts an enqueued or an interrupted trial; the latter may not have its configuration yet."""
        trials = self._trials[key.method, key.stage]
        if key.stage == "search":
            trials.start_waiting(key.number, self._distributions(key.method), self._defaults(key.method))
        else:
            trials.start_waiting(key.number, {}, {})
        trial = trials[key.number]
        if "config" not in trial.user_attrs:
            facts = self._resolved(key.method, trial.params)
            trials.record(key.number, **facts, seed=derive(self.config.seed, key.method, key.number))
        return self._started_assignment(key)

    def _started_assignment(self, key: Key) -> Assignment:
        self._learn(key)
        return Assignment.of(key, self.trial(key).user_attrs)

    def _proposals_of(self, method: str) -> Proposals:
        if method not in self._proposals:
            made = Proposals(
                self.config.search,
                {**self.spaces[method].ranges, **self.loss_weights.ranges},
                self._directions("search"),
                self._defaults(method),
                lambda params: self._resolved(method, params),
                lambda *names: derive(self.config.seed, method, "sampler", *names),
            )
            for trial in self.of(method, "search"):
                made.learn(trial, scores(trial), chance(trial))
            self._proposals[method] = made
        return self._proposals[method]

    def _learn(self, key: Key) -> None:
        """Tells the method's sampler, if there is one yet, about a trial."""
        if key.stage == "search" and key.method in self._proposals:
            trial = self.trial(key)
            self._proposals[key.method].learn(trial, scores(trial), chance(trial))

    def give_back(self, key: Key) -> None:
        """Takes back a trial that was lost while it ran: it is the next to start again."""
        self._running.discard(key)
        self._interrupted.append(key)

    def tell(self, key: Key, state: TrialState, validation: float | None = None, **facts: Any) -> None:
        """Ends a trial as COMPLETE (with its validation score), PRUNED, or FAIL (with the fact `error`)."""
        super().tell(key, state, validation, **facts)
        self._running.discard(key)
        self._learn(key)


def metric(study: Study) -> str:
    """The name of the score that the study maximizes."""
    metrics, objective = {task.metric for task in study.config.tasks}, study.config.search.objective
    if len(metrics) == 1 and (len(study.config.tasks) == 1 or objective == "mean"):
        return str(metrics.pop())
    return f"{objective} score"


def best_trial(study: Study, method: str) -> FrozenTrial | None:
    """The completed search trial of a method with the best validation score, the first of several."""
    complete = [trial for trial in study.of(method, "search") if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: trial.values[0], default=None)


def best(study: Study, method: str) -> float | None:
    """The best validation score of a method's completed search trials."""
    found = best_trial(study, method)
    return None if found is None else float(found.values[0])
