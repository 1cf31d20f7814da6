"""Messages between driver and worker: the driver sends a `Job`, the worker sends `Report`s.

Both hold plain values only. A new measured cost needs a field of `Report`, its name in `COSTS`, and a measurement in
`search/training/engine.py`.
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
"""Parameter counts in a report, known before training."""

COSTS = ("seconds", "step_seconds", "peak_memory_bytes", "latency_seconds")
"""Measured costs in a report. Trials share the machine, so these numbers are shown but never compared."""

_NESTED = ("task_scores", "metrics")
"""Fields that are sent as JSON, because Ray Tune would flatten them."""


@dataclass(frozen=True)
class Job:
    """Everything a worker needs to run a trial; Ray Tune keeps it as the trial's config.

    Attributes:
        study: the study's configuration as JSON.
        method, stage, number: the trial's key.
        config: the method's hyperparameters.
        loss_weights: each task's share of the loss.
        seed: the trial's seed.
        folder: the folder of its checkpoints, as an absolute path or a URI.
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
    """An evaluation of a trial, or the reason why it cannot continue.

    Attributes:
        step: optimizer steps so far.
        validation: the study's objective on the validation split, higher is better.
        standard_error: of it, over the rows that the split could have; None if a metric has no value for each example.
        trivial: the same objective of answers that need no model; None if a task has none.
        loss: mean training loss since the last report.
        task_scores: each task's score.
        metrics: other measurements of the tasks and the method, by name.
        trained_parameters, deployed_parameters, head_parameters: numbers of scalars.
        seconds: time of training and evaluation, without interruptions.
        step_seconds: time of one step.
        peak_memory_bytes: the most memory used so far.
        latency_seconds: time to answer one row, measured at the end of the trial if it is an objective.
        checkpoint: path or URI of the checkpoint at this step.
        resumed: whether an earlier process already reached this step.
        stops_study: whether every other trial would fail in the same way; this one can continue later.
        error: why the trial cannot continue.
        out_of_memory: whether there was too little memory, perhaps because of what else runs on the machine.
    """

    step: int | None = None
    validation: float | None = None
    standard_error: float | None = None
    trivial: float | None = None
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
    out_of_memory: bool = False

    def to_result(self) -> dict[str, Any]:
        """The report as Ray Tune takes it, always with every field: Tune stops if one is missing."""
        return {**dataclasses.asdict(self), **{name: json.dumps(getattr(self, name)) for name in _NESTED}}

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> Report:
        """Reads the result of `to_result`; fields that an earlier version lacks get defaults, Tune's keys are ignored."""
        names = [each.name for each in dataclasses.fields(cls)]
        values = {name: result[name] for name in names if name in result}
        nested = {name: json.loads(values.pop(name, None) or "{}") for name in _NESTED}
        return cls(**values, **nested)

    @property
    def counts(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def evaluation(self) -> dict[str, Any]:
        """The part that the study keeps for the step: scores, loss, costs and checkpoint."""
        kept = ("validation", "standard_error", "trivial", "loss", "checkpoint", *COSTS, *_NESTED)
        return {name: getattr(self, name) for name in kept}
