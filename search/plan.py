"""Checks a study against reality, and says what it will cost, before anything starts.

`check` looks at the model, the data and every method's space and collects all problems; the `Plan` it returns
has counts and estimates. Estimates are upper bounds: they take no early stopping into account.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedTokenizerBase

import methods
from methods.backbone import Backbone, BackboneError, Shape
from methods.method import trained_parameters
from methods.space import Choice, Range, Scalar
from search import messages, model_files, spaces, tasks
from search.config import StudyConfig, TaskConfig, TrainingConfig
from search.errors import StudyFileError
from search.messages import Problem
from search.spaces import Space
from search.tasks import Task
from search.training import Pack, Trial, predict

_PROBE_STEPS = 2
_MOST_CORNERS = 256
_START_SECONDS = 30.0
"""Ray, and the imports of its worker processes."""
_PROCESS_BYTES = 600 * 2**20
"""A worker process with torch and transformers, without a model."""
_FINALISTS_PER_METHOD = 2


@dataclass(frozen=True)
class TaskPlan:
    """Rows that a task uses; of test, which is not read before the end, those that there are at most."""

    name: str
    labels: tuple[str, ...]
    rows: dict[str, int]


@dataclass(frozen=True)
class MethodPlan:
    """A method's trials and, smallest to largest over its space, their parameters.

    Attributes:
        memory_bytes: of the largest trial, roughly.
        seconds_per_trial: of a trial in the middle of the space, or None without a probe.
    """

    method: str
    trials: int
    trained_parameters: tuple[int, int]
    deployed_parameters: tuple[int, int]
    memory_bytes: int
    seconds_per_trial: float | None


@dataclass(frozen=True)
class Plan:
    """What a study will do and cost.

    Attributes:
        seconds: of the whole study, at most, or None without a probe.
        parallel_trials: that run at once on this machine.
    """

    study: str
    model: str
    shape: Shape
    head_parameters: int
    tasks: tuple[TaskPlan, ...]
    methods: tuple[MethodPlan, ...]
    parallel_trials: int
    seconds: float | None
    warnings: tuple[str, ...]
