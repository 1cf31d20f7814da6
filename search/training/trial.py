"""One trial in training: its parameters and its batches.

A `Trial` owns its method, heads, optimizer, generator, schedule and data order. A `Pack` (`search/training/steps/pack.py`)
takes its steps, alone or together with other trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.backbone.backbone import Backbone
from methods.config import MethodConfig, TrainedConfig
from methods.heads.heads import Head, LinearHead
from methods.method import Method, Start
from methods.parameters import deployed_parameters, trained_parameters
from search.config.study_config import TrainingConfig
from search.seeds import derive
from search.tasks import Row, Task
from search.training import frozen_features
from search.training.batches import BatchOrder

_TRIALS = 4
"""What all rows may cost, in rows that one trial trains on: a search has more trials than this."""


class DivergedError(ArithmeticError):
    """The trial's loss or gradient is not finite."""


@dataclass(frozen=True)
class Counts:
    """The numbers of parameters of a trial: trained, deployed, and in its heads."""

    trained_parameters: int
    deployed_parameters: int
    head_parameters: int


@dataclass(frozen=True)
class Batch:
    """The rows of one trial for one step.

    Attributes:
        rows: the rows.
        tasks: the index of each row's task.
        numbers: the number of each row in its task's split.
    """

    rows: list[Row]
    tasks: list[int]
    numbers: list[int]

    def losses(self, task: Task, index: int) -> int:
        """The number of losses that a task has in the batch."""
        rows = zip(self.rows, self.tasks, strict=True)
        return sum(task.losses_of(row) for row, other in rows if other == index)


Part = list[int]
"""Some rows of a batch, by their index in it."""


class Trial:
    """One configuration in training.

    Args:
        method_class: the method's class, built and initialised here.
        config: the method's configuration.
        backbone: the frozen backbone, shared with other trials.
        tasks: the study's tasks in their order.
        weights: the weights of the tasks' losses, which add up to 1.
        settings: the study's section `training`.
        seed: the trial's seed, for everything random in it.
    """

    def __init__(
        self,
        method_class: type[Method],
        config: MethodConfig,
        backbone: Backbone,
        tasks: Sequence[Task],
        weights: Sequence[float],
        settings: TrainingConfig,
        seed: int,
    ) -> None:
        self.tasks = tasks
        self.weights = weights
        self.settings = settings
        self.config = config
        self.step = 0
        self.seconds = 0.0  # time of training and evaluation, over all interruptions
        self.generator = torch.Generator().manual_seed(derive(seed, "parameters"))
        self.method = method_class(config, backbone, len(tasks))
        self.backbone = self.method.own_backbone or backbone
        self.alone = not self.method.shares_forward(self.backbone)
        self.heads = nn.ModuleList(task.head(self.backbone, config.readout) for task in tasks)
        self.queries: list[Tensor] | None = None  # of each task's training rows
        if self.method.query is not None:
            self.queries = [
                frozen_features.query_features(task.splits["train"], backbone, self.method.query)
                for task in tasks
            ]
        self._initialize(backbone)
        self.method.to(backbone.device)
        self.heads.to(backbone.device)
        self.optimizer = self._optimizer()
        self._order = BatchOrder(
            [[row.length for row in task.splits["train"].rows] for task in tasks],
            settings.per_device_train_batch_size,
            derive(seed, "order"),
            _share_exponent(settings),
        )

    @property
    def pack_key(self) -> int:
        """Equal in trials whose rows can be in one forward."""
        return id(self) if self.alone else id(self.backbone)

    @property
    def counts(self) -> Counts:
        deployed = deployed_parameters(self.method, self.backbone)
        return Counts(trained_parameters(self.method), deployed, trained_parameters(self.heads))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter that is trained, the method's first."""
        return [p for p in (*self.method.parameters(), *self.heads.parameters()) if p.requires_grad]

    @property
    def reads_frozen_features(self) -> bool:
        """Whether its heads read nothing but the bare model, so that evaluation needs no forward of rows that are known."""
        frozen = not self.method.injects and not self.method.private_backbone
        return frozen and all(isinstance(head, LinearHead) for head in self.heads)

    @property
    def needs_no_forward(self) -> bool:
        """Whether its steps need no forward either."""
        return self.reads_frozen_features and worth_computing_once(self.tasks, self.settings)

    @property
    def done(self) -> bool:
        return self.step >= self.settings.max_steps

    def batch(self) -> Batch:
        """The rows of the next step."""
        numbers = self._order[self.step]
        return Batch(
            rows=[self.tasks[t].splits["train"].rows[row] for t, row in numbers],
            tasks=[t for t, _ in numbers],
            numbers=[row for _, row in numbers],
        )

    def _initialize(self, backbone: Backbone) -> None:
        """Initialises the method and the heads from the trial's generator."""
        names = tuple(task.name for task in self.tasks)
        label_ids = {task.name: task.label_ids for task in self.tasks}
        encode = self.tasks[0].encode
        drawing = self.generator, encode, self.queries, self._example
        self.method.initialize(Start(backbone, names, label_ids, *drawing))
        for head in self.heads:
            assert isinstance(head, Head)
            head.initialize(self.generator)

    def _example(self, task: int) -> list[int]:
        """The token ids of a training row, drawn at random; of one with a text to be written, without that text."""
        rows = self.tasks[task].splits["train"].rows
        row = rows[int(torch.randint(len(rows), (), generator=self.generator))]
        return row.input_ids[: row.source_length]

    def _optimizer(self) -> torch.optim.AdamW:
        """Makes AdamW with a rate for each group; if only heads are trained, `learning_rate` is theirs."""
        groups = [
            (parameters, share * self.config.learning_rate)
            for parameters, share in self.method.parameter_groups()
            if parameters
        ]
        config = self.config
        head_rate = config.head_learning_rate if isinstance(config, TrainedConfig) else config.learning_rate
        groups.append((list(self.heads.parameters()), head_rate))
        return torch.optim.AdamW(
            [{"params": parameters, "lr": rate, "peak": rate} for parameters, rate in groups],
            weight_decay=self.settings.weight_decay,
        )


def worth_computing_once(tasks: Sequence[Task], settings: TrainingConfig) -> bool:
    """Whether the training rows are few beside those that the trials of a search train on."""
    rows = sum(len(task.splits["train"]) for task in tasks)
    return rows <= _TRIALS * settings.max_steps * settings.per_device_train_batch_size


def learning_rate_factor(settings: TrainingConfig, step: int) -> float:
    """The share of the peak learning rate at a step (from 0): linear warm-up, then the chosen schedule."""
    warmup = round(settings.warmup_ratio * settings.max_steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = 1 - (step - warmup) / max(1, settings.max_steps - warmup)
    match settings.lr_scheduler_type:
        case "linear":
            return left
        case "cosine":
            return (1 + math.cos(math.pi * (1 - left))) / 2
        case "constant":
            return 1.0


def _share_exponent(settings: TrainingConfig) -> float:
    """The exponent of `BatchOrder` for the study's task sampling."""
    match settings.task_sampling:
        case "proportional":
            return 1.0
        case "equal":
            return 0.0
        case "temperature":
            return 1 / settings.sampling_temperature
