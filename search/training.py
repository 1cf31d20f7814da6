"""The training loop: trials that share one forward and backward of the frozen backbone.

A `Trial` owns all that is its own: method, heads, optimizer, generator, schedule, data order. A `Pack` joins
the rows of the trials attached to it. Nothing is shared between rows, so a trial trains in a pack as it
would alone, up to float error; a trial alone is a pack of one.

Letters: B rows, T text tokens, H hidden width, C classes, K trials of the pack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.backbone import Backbone
from methods.injection import Injection, concatenate
from methods.method import Method, MethodConfig, Start, trained_parameters
from methods.readout import sequence_features
from search.batches import BatchOrder, by_length, collate
from search.config import TrainingConfig
from search.seeds import derive
from search.tasks import Task


class DivergedError(ArithmeticError):
    """The trial's loss or gradient is no longer a finite number."""


@dataclass(frozen=True)
class Counts:
    """Scalars that a trial trains, deploys, and has in its heads."""

    trained_parameters: int
    deployed_parameters: int
    head_parameters: int


@dataclass(frozen=True)
class Batch:
    """Rows of one trial for one step: texts, the task of each `[B]`, and its target."""

    texts: list[list[int]]
    task_B: Tensor
    targets: list[int]


class Trial:
    """One configuration being trained.

    Args:
        module: the method's module (methods/<name>.py) class, built and initialised here.
        config: its configuration.
        backbone: for its shape and for what the method starts from; not kept.
        tasks: the study's, in their order.
        weights: of the tasks' losses, adding up to 1.
        settings: the training section.
        seed: of everything random in this trial.
    """

    def __init__(
        self,
        module: type[Method],
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
        self.seconds = 0.0  # of training and evaluation, across interruptions
        self.generator = torch.Generator().manual_seed(derive(seed, "parameters"))
        self.method = module(config, backbone.shape, len(tasks))
        self.heads = nn.ModuleList(task.head(backbone.shape.hidden_size) for task in tasks)
        self._initialize(backbone)
        self.method.to(backbone.device)
        self.heads.to(backbone.device)
        self.optimizer = self._optimizer()
        self._rows = [(t, row) for t, task in enumerate(tasks) for row in range(len(task.splits["train"]))]
        self._order = BatchOrder(
            [len(tasks[t].splits["train"].input_ids[row]) for t, row in self._rows],
            settings.per_device_train_batch_size,
            derive(seed, "order"),
        )

    @property
    def counts(self) -> Counts:
        return Counts(trained_parameters(self.method), self.method.deployed(), trained_parameters(self.heads))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter of the trial's own, the method's first."""
        return [*self.method.parameters(), *self.heads.parameters()]

    @property
    def done(self) -> bool:
        return self.step >= self.settings.max_steps

    def batch(self) -> Batch:
        """The rows of the next step."""
        rows = [self._rows[number] for number in self._order[self.step]]
        splits = [self.tasks[t].splits["train"] for t, _ in rows]
        return Batch(
            texts=[split.input_ids[row] for split, (_, row) in zip(splits, rows, strict=True)],
            task_B=torch.tensor([t for t, _ in rows]),
            targets=[split.targets[row] for split, (_, row) in zip(splits, rows, strict=True)],
        )

    def loss(self, batch: Batch, features_BH: Tensor, injection: Injection) -> Tensor:
        """Sum over tasks of weight times the mean loss of the task's rows, and the mean auxiliary loss."""
        total = features_BH.new_zeros(())
        targets = torch.tensor(batch.targets, device=features_BH.device)
        for index, (task, head) in enumerate(zip(self.tasks, self.heads, strict=True)):
            mine = (batch.task_B == index).to(features_BH.device)
            if mine.any():
                losses = task.loss(head(features_BH[mine]), targets[mine])
                total = total + self.weights[index] * losses.mean()
        if injection.auxiliary_loss_B is not None:
            total = total + injection.auxiliary_loss_B.mean()
        return total

    def update(self) -> None:
        """Clips the gradients, takes an optimizer step, forgets the gradients.

        Raises:
            DivergedError: a gradient is not finite.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient's norm is {float(norm)} at step {self.step + 1}")
        factor = learning_rate_factor(self.settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _initialize(self, backbone: Backbone) -> None:
        """Starts method and heads from the trial's generator; heads start small, with zero bias."""
        names = tuple(task.name for task in self.tasks)
        label_ids = {task.name: task.label_ids for task in self.tasks}
        self.method.initialize(Start(backbone, names, label_ids, self.generator))
        with torch.no_grad():
            for parameter in self.heads.parameters():
                parameter.zero_()
                if parameter.dim() > 1:
                    parameter.normal_(std=0.02, generator=self.generator)

    def _optimizer(self) -> torch.optim.AdamW:
        """AdamW; the method's learning rate is the heads' too where the heads are all that is trained."""
        mine = list(self.method.parameters())
        head_rate = self.settings.head_learning_rate if mine else self.config.learning_rate
        groups = [
            {"params": mine, "lr": self.config.learning_rate, "peak": self.config.learning_rate},
            {"params": list(self.heads.parameters()), "lr": head_rate, "peak": head_rate},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], weight_decay=self.settings.weight_decay
        )


def learning_rate_factor(settings: TrainingConfig, step: int) -> float:
    """Share of the peak learning rate at a step counted from 0: linear warm-up, then the chosen schedule."""
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


class Pack:
    """Trials that share the backbone's forward and backward.

    Args:
        backbone: frozen.
        pad_id: token id of padding.
    """

    def __init__(self, backbone: Backbone, pad_id: int) -> None:
        self.backbone = backbone
        self.pad_id = pad_id
        self.trials: list[Trial] = []

    def attach(self, trial: Trial) -> None:
        """The trial takes part from the next step on."""
        self.trials.append(trial)

    def detach(self, trial: Trial) -> None:
        """The trial takes no further part."""
        self.trials.remove(trial)

    def step(self) -> list[float | DivergedError]:
        """One step of every attached trial.

        Returns:
            Each trial's loss, or why it cannot go on; one trial's failure leaves the others as they are.
        """
        batches = [trial.batch() for trial in self.trials]
        injections = []
        for trial, batch in zip(self.trials, batches, strict=True):
            trial.method.train()
            injections.append(trial.method(batch.task_B.to(self.backbone.device)))
        texts = [text for batch in batches for text in batch.texts]
        ids_BT, mask_BT = collate(texts, self.pad_id, self.backbone.device)
        hidden_BTH = self.backbone.forward(ids_BT, mask_BT, concatenate(injections))
        losses = []
        start = 0
        for trial, batch, injection in zip(self.trials, batches, injections, strict=True):
            rows = slice(start, start := start + len(batch.texts))
            features_BH = sequence_features(hidden_BTH[rows], mask_BT[rows], trial.config.readout)
            losses.append(trial.loss(batch, features_BH, injection))
        finite = [loss for loss in losses if math.isfinite(loss.item())]
        if finite:
            torch.stack(finite).sum().backward()  # type: ignore[no-untyped-call]
        return [self._update(trial, loss) for trial, loss in zip(self.trials, losses, strict=True)]

    @staticmethod
    def _update(trial: Trial, loss: Tensor) -> float | DivergedError:
        value = loss.item()
        if not math.isfinite(value):
            return DivergedError(f"the loss is {value} at step {trial.step + 1}")
        try:
            trial.update()
        except DivergedError as error:
            return error
        return value


@torch.inference_mode()
def predict(
    backbone: Backbone,
    method: Method,
    head: nn.Module,
    task_index: int,
    texts: Sequence[Sequence[int]],
    readout: str,
    batch_size: int,
    pad_id: int,
) -> Tensor:
    """Logits of texts, in their order.

    Returns:
        `[len(texts), C]` float32, on the CPU.
    """
    method.eval()
    logits: list[Tensor | None] = [None] * len(texts)
    for rows in by_length(texts, batch_size):
        ids_BT, mask_BT = collate([texts[row] for row in rows], pad_id, backbone.device)
        injection = method(torch.full((len(rows),), task_index, device=backbone.device))
        hidden_BTH = backbone.forward(ids_BT, mask_BT, injection)
        output_BC = head(sequence_features(hidden_BTH, mask_BT, readout)).cpu()
        for row, output_C in zip(rows, output_BC, strict=True):
            logits[row] = output_C
    return torch.stack([output for output in logits if output is not None])
