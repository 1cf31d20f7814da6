"""What every method is: a configuration with a search space, and a module that produces injections.

One method is one file in this package. The file defines `Config` (a frozen dataclass, each field made by
`hyperparameter`) and `Method` (an `nn.Module` whose forward returns an `Injection` for the rows of a batch),
and opens with the paper, the formula, and how it differs from the paper. Nothing else is edited.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from methods.backbone.injection import Injection
from methods.space import Allowed, Choice, Float, Int, Range, Scalar

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone
    from methods.backbone.shape import Shape

V = TypeVar("V", int, float, str, bool)

READOUTS = ("first", "mean", "last", "model")


def hyperparameter(
    default: V,
    *,
    allowed: Allowed,
    help: str,
    searched: bool | Range = True,
    where: Mapping[str, Scalar] | None = None,
) -> V:
    """A field of a `MethodConfig`: its published default, what is allowed, and what is searched.

    Args:
        default: the published default, the first trial of every study.
        allowed: the values it may have. A study may go beyond a range's bounds (the config's `problems` tell what
            cannot work), but not beyond a choice's values.
        help: one line for `promptfront methods` and the study file.
        searched: what the default search space holds: all that is allowed, a part of it, or nothing (it keeps its
            default).
        where: the values of other fields with which it applies; otherwise it has no effect.
    """
    space = (allowed if searched else None) if isinstance(searched, bool) else searched
    return dataclasses.field(  # type: ignore[no-any-return]
        default=default,
        metadata={"allowed": allowed, "help": help, "searched": space, "where": dict(where or {})},
    )


@dataclass(frozen=True)
class MethodConfig:
    """Hyperparameters that every method has."""

    head_fields: ClassVar[tuple[str, ...]] = ("readout",)
    """Fields that are about the heads: nothing to search where no head is trained."""

    learning_rate: float = hyperparameter(
        3e-3, allowed=Float(1e-4, 1e-1, log=True), help="AdamW's peak learning rate"
    )
    readout: str = hyperparameter(
        "mean",
        allowed=Choice(READOUTS),
        searched=False,
        help="what the head reads: the first or last text position, the mean of all, or as the model's own class does",
    )

    @classmethod
    def fields(cls) -> dict[str, dataclasses.Field[Any]]:
        """Name to field, in the order of their definition."""
        return {field.name: field for field in dataclasses.fields(cls)}

    @classmethod
    def space(cls) -> dict[str, Range]:
        """The default search space: the range of every searched field."""
        return {
            name: field.metadata["searched"]
            for name, field in cls.fields().items()
            if field.metadata["searched"] is not None
        }

    def to_dict(self) -> dict[str, Scalar]:
        """The fields that apply as plain values, for JSON: two configurations that do the same have the same."""
        return {
            name: getattr(self, name)
            for name, field in self.fields().items()
            if all(getattr(self, other) == value for other, value in field.metadata["where"].items())
        }

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        """Why this configuration cannot run on a backbone of `shape` with texts of up to `max_length` tokens.

        Returns:
            Sentences that say what is allowed and what was got; empty when all is well.
        """
        found = []
        for name in ("learning_rate", "head_learning_rate"):
            rate = getattr(self, name, 1.0)
            if not (math.isfinite(rate) and rate > 0):
                found.append(f"{name} must be above 0, not {rate}")
        if self.readout == "model" and not shape.model_head:
            found.append(
                "readout must be first, last or mean, not model: the model has no class for classification, "
                "or its file has no weights for the pooler that the class reads"
            )
        for name, field in type(self).fields().items():
            allowed, value = field.metadata["allowed"], getattr(self, name)
            if isinstance(allowed, Choice) and value not in allowed.choices:
                found.append(f"{name} must be one of {', '.join(map(str, allowed.choices))}, not {value!r}")
        return found


@dataclass(frozen=True)
class TrainedConfig(MethodConfig):
    """Hyperparameters of methods that train parameters of their own beside the heads.

    What heads learn at decides much of a short training: were it fixed here and searched by `head_only`, the search
    would compare rates rather than methods.
    """

    head_fields: ClassVar[tuple[str, ...]] = ("head_learning_rate", "readout")

    head_learning_rate: float = hyperparameter(
        3e-3, allowed=Float(3e-4, 1e-1, log=True), help="AdamW's peak learning rate, of the heads"
    )


@dataclass(frozen=True)
class PromptConfig(TrainedConfig):
    """Hyperparameters of methods that have virtual tokens."""

    num_virtual_tokens: int = hyperparameter(
        20, allowed=Int(4, 100, log=True), help="virtual tokens P per prompt or prefix"
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if self.num_virtual_tokens < 1:
            found.append(f"num_virtual_tokens must be at least 1, not {self.num_virtual_tokens}")
        return found

    @property
    def row_tokens(self) -> int:
        """Virtual tokens that a row gets."""
        return self.num_virtual_tokens

    def _position_problem(self, shape: Shape, max_length: int) -> list[str]:
        """The prompt takes positions of the model's: it must leave enough of them for the text."""
        if shape.max_positions is None or self.row_tokens + max_length <= shape.max_positions:
            return []
        left = (shape.max_positions - max_length) * self.num_virtual_tokens // self.row_tokens
        return [
            f"num_virtual_tokens must be at most {left}, not {self.num_virtual_tokens}: the model has "
            f"{shape.max_positions} positions and model.max_length takes {max_length} of them"
        ]


@dataclass(frozen=True)
class Rows:
    """What a method is told of the rows of a batch.

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
