"""Result rows: the one input of `dashboards`.

A plain dict that JSON can hold; `search/results/rows.py` makes it from the Optuna storage. Every optional value may
be None: a study may have no finalists, no trials, or none that finished. Scores are on the metric's own scale,
higher is better; times are seconds of wall clock; counts are numbers of scalars. Rows of an older study lack the
keys that are NotRequired: read those with `get`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NotRequired, TypedDict, TypeGuard, TypeVar

F = TypeVar("F", bound=Mapping[str, Any])
Scalar = bool | int | float | str
State = Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"]


class Objective(TypedDict):
    """The score: the mean of `metric` over the tasks. `range`: the least and the highest that it can be, if it has bounds."""

    metric: str
    direction: str
    over_tasks: NotRequired[Literal["mean", "worst"]]
    range: NotRequired[tuple[float, float] | None]


class Backbone(TypedDict):
    """The frozen model."""

    name: str
    parameters: int
    hidden_size: int
    layers: int


class Task(TypedDict):
    """One task with the sizes of its splits."""

    name: str
    kind: str
    metric: str
    train: int
    validation: int
    test: int | None
    labels: list[str]
    request: NotRequired[dict[str, str]]
    """What is given for one answer, by name, with an example of each."""


class Range(TypedDict, total=False):
    """The values a hyperparameter may take: [low, high], or `choices`."""

    kind: Literal["float", "int", "choice"]
    low: float
    high: float
    log: bool
    choices: list[Scalar]


class Search(TypedDict):
    """The settings of the search."""

    sampler: str
    early_stopping: bool
    eta: int
    max_steps: int
    eval_steps: int
    trials_per_method: int
    allocation: NotRequired[str]
    measured_costs: NotRequired[list[str]]


class Method(TypedDict):
    """One method of the study and its search space.

    Attributes:
        budget: its number of trials.
        ended_early: its `reason`, where the search of the method ended before its budget did.
        importances: hyperparameter -> share of the variance of the validation score that it explains; None where too
            few trials are complete.
        where: hyperparameter -> the values of others without which it has no effect; its importance is that among
            the trials with those values.
    """

    method: str
    title: str
    baseline: bool
    budget: int
    ended_early: NotRequired[dict[str, Scalar] | None]
    space: dict[str, Range]
    importances: NotRequired[dict[str, float] | None]
    where: NotRequired[dict[str, dict[str, Scalar]]]


class CurvePoint(TypedDict):
    """One evaluation on validation, after `step` optimizer steps."""

    step: int
    loss: float | None
    validation: float | None
    seconds: float | None


COSTS = ("seconds", "step_seconds", "peak_memory_bytes", "latency_seconds")
"""The costs that a trial measures. Trials share the machine, so these are shown and never compared."""

STATES: dict[State, str] = {
    "COMPLETE": "complete",
    "PRUNED": "stopped early",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
"""What people read for the state of a trial."""


class Trial(TypedDict):
    """One configuration, trained and scored once.

    Attributes:
        number: unique within its method.
        metrics: of the last evaluation, the method's own among them.
        latency_seconds: None unless it was an objective.
        origin: `<study>/<method>:<number>` of the trial of an earlier study whose configuration this is.
        unmeasured: costs that were objectives and that the trial did not measure.
    """

    number: int
    method: str
    state: State
    config: dict[str, Scalar]
    seed: int | None
    validation: float | None
    task_scores: dict[str, float] | None
    trained_parameters: int | None
    deployed_parameters: int | None
    head_parameters: int | None
    seconds: float | None
    started: str | None
    ended: str | None
    error: str | None
    checkpoint: str | None
    mlflow_run_id: str | None
    curve: list[CurvePoint]
    metrics: NotRequired[dict[str, float]]
    step_seconds: NotRequired[float | None]
    peak_memory_bytes: NotRequired[float | None]
    latency_seconds: NotRequired[float | None]
    origin: NotRequired[str | None]
    unmeasured: NotRequired[list[str]]


class FinalistRun(TypedDict):
    """One retraining of a finalist with a fresh seed.

    Attributes:
        examples: task -> the score of every test example, in the same order for every run and method; None where the
            metric is no mean over examples.
    """

    seed: int
    state: State
    error: str | None
    validation: float | None
    task_scores: dict[str, float] | None
    test: float | None
    test_task_scores: dict[str, float] | None
    test_metrics: dict[str, dict[str, float]]
    examples: dict[str, list[float]] | None
    seconds: float | None
    mlflow_run_id: str | None
    curve: NotRequired[list[CurvePoint]]
    metrics: NotRequired[dict[str, float]]


class Probe(TypedDict):
    """What a chosen finalist costs, with nothing else running.

    Attributes:
        device: where it was measured.
        train_step_seconds: an optimizer step of a training batch.
        train_seconds: `train_step_seconds` times the steps of a trial.
        peak_memory_bytes: most memory that training took.
        latency_seconds: an answer to one row alone, in the deployed form.
        rows_per_second: how many it answers, in evaluation batches.
        bytes: deployed tensors and heads on disk.
    """

    device: str | None
    train_step_seconds: float | None
    train_seconds: float | None
    peak_memory_bytes: float | None
    latency_seconds: float | None
    rows_per_second: float | None
    bytes: int | None


class Finalist(TypedDict):
    """A configuration of the search, retrained with fresh seeds.

    Attributes:
        number: of its search trial.
        chosen: the one of its method that is tested.
    """

    method: str
    config: dict[str, Scalar]
    number: int
    role: Literal["best", "cheapest", "runner_up", "default"]
    chosen: bool
    trained_parameters: int | None
    deployed_parameters: int | None
    head_parameters: int | None
    runs: list[FinalistRun]
    probe: NotRequired[Probe | None]


class Seeds(TypedDict):
    """How many seeds a finalist gets: `looks` are the numbers after which the study is looked at."""

    num_seeds: int
    max_seeds: int
    looks: list[int]


class Trivial(TypedDict):
    """The score of an answer that needs no model; `answers` says for each task what it is."""

    test: float
    test_task_scores: dict[str, float]
    examples: dict[str, list[float]] | None
    answers: dict[str, str]


class Rows(TypedDict):
    """All that is known of a study."""

    study: str
    partial: bool
    outcome: str
    epsilon: float
    objective: Objective
    backbone: Backbone
    tasks: list[Task]
    search: NotRequired[Search]
    methods: list[Method]
    trials: list[Trial]
    finalists: list[Finalist]
    test_readings: int
    seeds: NotRequired[Seeds]
    test_groups: NotRequired[dict[str, list[int] | None]]
    trivial: NotRequired[Trivial | None]
    provenance: dict[str, Any]


def finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a value, and it is a number."""
    return value is not None and math.isfinite(value)


def chosen(finalists: Iterable[F]) -> F | None:
    """The finalist that was chosen for the test split."""
    return next((finalist for finalist in finalists if finalist["chosen"]), None)
