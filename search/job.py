"""What passes between the driver and a worker: a `Job` one way, `Report`s the other.

Plain values only. `Report` is the one list of what a trial reports: a new measured cost is a field here, named in
`COSTS`, and measured in `search/training/worker.py`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from methods.space import Scalar

MeasuredCost = Literal["seconds", "peak_memory_bytes", "latency_seconds"]
"""Costs that a search may minimize (`search.measured_costs`)."""

COUNTS = ("trained_parameters", "deployed_parameters", "head_parameters")
"""Numbers of parameters in a report; they are known before training."""

COSTS = ("seconds", "step_seconds", "peak_memory_bytes", "latency_seconds")
"""Measured costs in a report. Trials share the machine, so they are shown and never compared."""

_NESTED = ("task_scores", "metrics")
"""Fields that Ray Tune would flatten; they travel as JSON."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs; Ray Tune keeps it as the trial's config.

    Attributes:
        study: the study's configuration as JSON.
        method, stage, number: the trial's key.
        config: the method's hyperparameters.
        loss_weights: each task's share of the loss.
        seed: of the trial.
        folder: for its checkpoints, an absolute path or a URI.
    """

    study: str
    method: str
    stage: str
    number: int
    config: dict[str, Scalar]
    loss_weights: dict[str, float]
    seed: int
    folder: str

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Report:
    """An evaluation of a trial, or why it cannot go on.

    Attributes:
        step: optimizer steps so far.
        validation: the study's objective on the validation split, higher is better.
        loss: mean training loss since the last report.
        task_scores: each task's score.
        metrics: what else tasks and method measure, by name.
        trained_parameters, deployed_parameters, head_parameters: numbers of scalars.
        seconds: of training and evaluation, interruptions left out.
        step_seconds: of one step.
        peak_memory_bytes: the most memory held so far.
        latency_seconds: of an answer to one row, at the trial's end, where it is an objective.
        checkpoint: path or URI that holds the trial at this step.
        resumed: whether an earlier process has reached this step.
        stops_study: whether every other trial would fail the same way; this one can go on later.
        error: why the trial cannot go on.
    """

    step: int | None = None
    validation: float | None = None
    loss: float | None = None
    task_scores: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    trained_parameters: int | None = None
    deployed_parameters: int | None = None
    head_parameters: int | None = None
    seconds: float | None = None
    step_seconds: float | None = None
    peak_memory_bytes: float | None = None
    latency_seconds: float | None = None
    checkpoint: str | None = None
    resumed: bool = False
    stops_study: bool = False
    error: str | None = None

    def to_result(self) -> dict[str, Any]:
        """As Ray Tune takes it, every field in each report: Tune stops where one is missing."""
        return {**dataclasses.asdict(self), **{name: json.dumps(getattr(self, name)) for name in _NESTED}}

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> Report:
        """From what `to_result` gave, perhaps by an earlier version that knew fewer fields; Tune's own keys are left out."""
        names = [each.name for each in dataclasses.fields(cls)]
        values = {name: result[name] for name in names if name in result}
        nested = {name: json.loads(values.pop(name, None) or "{}") for name in _NESTED}
        return cls(**values, **nested)

    @property
    def counts(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def evaluation(self) -> dict[str, Any]:
        """What the study keeps of the step: scores, loss, costs and checkpoint."""
        kept = ("validation", "loss", "checkpoint", *COSTS, *_NESTED)
        return {name: getattr(self, name) for name in kept}
