"""The base class of methods: a module that produces injections, with a configuration and a search space.

A method is one file in this package. It defines `Config` (a frozen dataclass; `hyperparameter` makes each field) and
`Method` (an `nn.Module` whose forward returns an `Injection` for the rows of a batch). Its docstring gives the paper,
the formula and the differences from the paper. A new method needs no other change.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from methods.backbone.injection import Injection
from methods.bundles.bundle import Bundle, Segments

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone


@dataclass(frozen=True)
class Rows:
    """A method's input for the rows of a batch.

    Attributes:
        task_B: `[B]` int64, the index of each row's task; in a bundle, the index among the tasks of all members, which is
            member * tasks + task.
        query_BH: `[B, H]` float32, the bare model's features of each row (`Backbone.features`), if the method's
            `query` asks for them; else None.
        members: in a bundle, the member of each row.
    """

    task_B: Tensor
    query_BH: Tensor | None = None
    members: Segments | None = None

    def __len__(self) -> int:
        return len(self.task_B)


@dataclass(frozen=True)
class Start:
    """What a method may use to initialise its parameters.

    Attributes:
        backbone: the frozen model, for its embeddings and its layers' keys and values.
        tasks: the names of the study's tasks in their order.
        label_ids: the token ids of each task's label words, one list per label.
        generator: the trial's own random generator (CPU).
        encode: turns a text into token ids, without special tokens.
        queries: for a method with a `query`, the features of each task's training rows, `[rows, H]`.
        example: draws a training row of the task with this index, with `generator`: its token ids with special tokens.
    """

    backbone: Backbone
    tasks: tuple[str, ...]
    label_ids: Mapping[str, Sequence[Sequence[int]]]
    generator: torch.Generator
    encode: Callable[[str], list[int]]
    queries: Sequence[Tensor] | None
    example: Callable[[int], list[int]]


class Method(nn.Module, ABC):
    """Produces the injection for the rows of a batch.

    A method is built from a configuration, the backbone and the number of tasks. Its parameters get their values from
    `initialize`, or from a file if it was saved. It keeps no reference to the shared backbone.

    It defines `inject`, which many methods of its class go through at once, or else `forward`, for itself alone; then its trials
    share forwards of the backbone too, but each makes its own injection.
    """

    title: ClassVar[str]
    """The method's usual name."""
    baseline: ClassVar[bool] = False
    """Whether it is only there for comparison."""
    injects: ClassVar[bool] = True
    """Whether it puts anything into the model. Without, what a linear head reads of a row is computed only once."""
    private_backbone: ClassVar[bool] = False
    """Whether it trains a copy of the backbone (`own_backbone`), so that it cannot share a forward with other trials."""
    may_differ: ClassVar[frozenset[str]] = frozenset()
    """Hyperparameters in which the members of a bundle may differ, besides learning rates, readouts and starts."""

    def __init__(self, config: Any, backbone: Backbone, num_tasks: int) -> None:
        super().__init__()
        self.config = config
        self.num_tasks = num_tasks

    @property
    def query(self) -> str | None:
        """The readout of the features that `forward` needs as `Rows.query_BH`; None if it needs none."""
        return None

    @property
    def own_backbone(self) -> Backbone | None:
        """The copy that a method with `private_backbone` trains; else None."""
        return None

    def shares_forward(self, backbone: Backbone) -> bool:
        """Whether rows of other trials may be in a forward of the backbone with its own."""
        return not self.private_backbone

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, but keeps an own backbone in eval mode: its dropout would not use the trial's generator."""
        super().train(mode)
        if self.own_backbone is not None:
            self.own_backbone.model.eval()
        return self

    @abstractmethod
    def initialize(self, start: Start) -> None:
        """Initialises the parameters; random numbers come only from `start.generator`."""

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        """Makes the injection for rows of the members of a bundle; every parameter takes part in every call."""
        raise NotImplementedError(f"{cls.__module__} must define inject or forward")

    def forward(self, rows: Rows, backbone: Backbone) -> Injection:
        """Makes the injection for the rows of a batch; `backbone` is the one that will run them."""
        alone = Segments([len(rows)], rows.task_B.device)
        return self.inject(Bundle.of(self), dataclasses.replace(rows, members=alone), backbone)

    @property
    def structure(self) -> tuple[object, ...] | None:
        """What is equal in methods that can form a bundle; None if it cannot be in one."""
        if type(self).forward is not Method.forward:
            return None
        free = {"learning_rate", "head_learning_rate", "readout", "init", "init_text", *self.may_differ}
        fields = [field.name for field in dataclasses.fields(self.config) if field.name not in free]
        return type(self), self.num_tasks, *((name, repr(getattr(self.config, name))) for name in fields)

    def deployed(self, backbone: Backbone) -> Method:
        """Returns a method that makes the same injections with only the parameters that deployment needs.

        A network that only helps training is run once and left out. Without such a network it is this method itself.
        """
        return self

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The trained parameters in groups, each with a factor for the configuration's learning rate."""
        return [([parameter for parameter in self.parameters() if parameter.requires_grad], 1.0)]

    def metrics(self) -> dict[str, float]:
        """Further values to log as curves, by name; called after each evaluation."""
        return {}
