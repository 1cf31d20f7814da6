"""Configurations of methods: hyperparameters with their defaults, ranges and checks. Needs no torch.

A method's file defines its `Config`, a frozen dataclass each of whose fields is made by `hyperparameter`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from methods.space import Allowed, Choice, Float, Int, Range, Scalar

if TYPE_CHECKING:
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
