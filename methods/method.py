"""What every method is: a configuration with a search space, and a module that produces injections.

One method is one file in this package. The file defines `Config` (a frozen dataclass, each field made by
`hyperparameter`) and `Method` (an `nn.Module` whose forward returns an `Injection` for the rows of a batch),
and opens with the paper, the formula, and how it differs from the paper. Nothing else is edited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from methods.backbone.injection import Injection

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone


@dataclass(frozen=True)
class Rows:
    """What a method is given of the rows of a batch.

    Attributes:
        task_B: `[B]` int64, index of each row's task.
        query_BH: `[B, H]` float32, what the bare model makes of each row (`Backbone.features`), for a method that
            asks for it by `query`; otherwise None.
    """

    task_B: Tensor
    query_BH: Tensor | None = None

    def __len__(self) -> int:
        return len(self.task_B)


@dataclass(frozen=True)
class Start:
    """What a method may start its parameters from.

    Attributes:
        backbone: the frozen model, for its embeddings and its layers' keys and values.
        tasks: names of the study's tasks, in their order.
        label_ids: token ids of each task's label words, one list per label.
        generator: the trial's own source of random numbers (CPU).
        encode: token ids of a text, without special tokens.
        queries: for a method that asks for a `query`, that of each task's training rows, `[rows, H]`.
    """

    backbone: Backbone
    tasks: tuple[str, ...]
    label_ids: Mapping[str, Sequence[Sequence[int]]]
    generator: torch.Generator
    encode: Callable[[str], list[int]]
    queries: Sequence[Tensor] | None = None


class Method(nn.Module, ABC):
    """Produces the injection for the rows of a batch.

    A method is built from a configuration, the backbone and the number of tasks, with parameters of no meaning
    yet; `initialize` gives them their start. A saved method is loaded without `initialize`. It keeps no reference
    to the backbone that it shares with others.
    """

    title: ClassVar[str]
    """The name people know it by."""
    baseline: ClassVar[bool] = False
    """Whether it is there to be compared with rather than to be chosen."""
    private_backbone: ClassVar[bool] = False
    """Whether it trains a copy of the backbone (`own_backbone`): its rows share no forward with those of others."""

    def __init__(self, config: Any, backbone: Backbone, num_tasks: int) -> None:
        super().__init__()
        self.config = config
        self.num_tasks = num_tasks

    @property
    def query(self) -> str | None:
        """The readout of the bare model's features that `forward` needs as `Rows.query_BH`; None: it needs none."""
        return None

    @property
    def own_backbone(self) -> Backbone | None:
        """The copy that a method with `private_backbone` trains."""
        return None

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`; a copy of the backbone stays in eval mode: its dropout draws from no trial's generator."""
        super().train(mode)
        if self.own_backbone is not None:
            self.own_backbone.model.eval()
        return self

    @abstractmethod
    def initialize(self, start: Start) -> None:
        """Gives the parameters their start, drawing from `start.generator` only."""

    @abstractmethod
    def forward(self, rows: Rows, backbone: Backbone) -> Injection:
        """The injection for the rows of a batch, into the backbone that runs them."""

    def deployed(self, backbone: Backbone) -> Method:
        """The method that makes the same injections of nothing but what a deployed model needs.

        A network that only helps training is run once and left out: the result is another method, or this one.
        """
        return self

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The parameters that are trained, in groups with their share of the configuration's learning rate."""
        return [([parameter for parameter in self.parameters() if parameter.requires_grad], 1.0)]

    def metrics(self) -> dict[str, float]:
        """What is worth a curve of its own beside the scores, by name; asked after each evaluation."""
        return {}
