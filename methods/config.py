"""Configurations of methods: hyperparameters with defaults, ranges and checks. Needs no torch.

A method's file defines its `Config`, a frozen dataclass; `hyperparameter` makes each of its fields.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

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
    """Makes a field of a `MethodConfig`.

    Args:
        default: the published default, which the first trial of every study uses.
        allowed: the values it may have. A study may go beyond the bounds of a range (`problems` says what cannot
            work), but not beyond the values of a choice.
        help: one line for `promptfront methods` and the study file.
        searched: the default search space: True for all allowed values, False for none (the default is kept), or a
            range.
        where: values of other fields that are needed for this field to have an effect.
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
    """Fields that concern the heads; they are not searched if no head is trained."""

    learning_rate: float = hyperparameter(
        3e-3, allowed=Float(1e-4, 1e-1, log=True), help="AdamW's peak learning rate"
    )
    readout: str = hyperparameter(
        "mean",
        allowed=Choice(READOUTS),
        searched=False,
        help="what the head reads: the first or last text position, the mean of all, or what the model's own class reads",
    )

    @classmethod
    def fields(cls) -> dict[str, dataclasses.Field[Any]]:
        """The fields by name, in the order of their definition."""
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
        """The fields that have an effect, as plain values for JSON; equal for configurations that do the same."""
        return {
            name: getattr(self, name)
            for name, field in self.fields().items()
            if all(getattr(self, other) == value for other, value in field.metadata["where"].items())
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Makes the configuration of `to_dict`'s result, which may come from anywhere.

        Raises:
            ValueError: a name is unknown, or a value has another type than the field's default.
        """
        if unknown := values.keys() - cls.fields().keys():
            raise ValueError(f"unknown hyperparameters: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            wanted = type(cls.fields()[name].default)
            if type(value) not in ((int, float) if wanted is float else (wanted,)):
                raise ValueError(f"{name} must be of type {wanted.__name__}, not {type(value).__name__}")
        return cls(**values)

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        """Finds reasons why this configuration cannot run.

        Args:
            shape: the backbone's shape.
            max_length: the most tokens of a text.

        Returns:
            Sentences that begin with the field's name and say what is allowed; empty if there is no problem.
        """
        found = []
        for name in ("learning_rate", "head_learning_rate"):
            rate = getattr(self, name, 1.0)
            if not (math.isfinite(rate) and rate > 0):
                found.append(f"{name} must be above 0, not {rate}")
        if self.readout == "model" and not shape.model_head:
            found.append(
                "readout must be first, last or mean, not model: transformers has no classification class for the model, or "
                "the model's file has no weights for the pooler that the class reads"
            )
        for name, field in type(self).fields().items():
            allowed, value = field.metadata["allowed"], getattr(self, name)
            if isinstance(allowed, Choice) and value not in allowed.choices:
                found.append(f"{name} must be one of {', '.join(map(str, allowed.choices))}, not {value!r}")
        return found


@dataclass(frozen=True)
class TrainedConfig(MethodConfig):
    """Hyperparameters of methods that train parameters besides the heads.

    The heads' learning rate matters much in a short training. It is searched here as in `head_only`, so that the search
    compares methods and not learning rates.
    """

    head_fields: ClassVar[tuple[str, ...]] = ("head_learning_rate", "readout")

    head_learning_rate: float = hyperparameter(
        3e-3, allowed=Float(3e-4, 1e-1, log=True), help="AdamW's peak learning rate for the heads"
    )


@dataclass(frozen=True)
class PromptConfig(TrainedConfig):
    """Hyperparameters of methods with virtual tokens."""

    num_virtual_tokens: int = hyperparameter(
        20, allowed=Int(4, 100, log=True), help="virtual tokens P in each prompt or prefix"
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if self.num_virtual_tokens < 1:
            found.append(f"num_virtual_tokens must be at least 1, not {self.num_virtual_tokens}")
        return found

    @property
    def row_tokens(self) -> int:
        """The number of virtual tokens that a row gets."""
        return self.num_virtual_tokens

    def _position_problem(self, shape: Shape, max_length: int) -> list[str]:
        """Checks that the virtual tokens leave enough of the model's positions for the text."""
        if shape.max_positions is None or self.row_tokens + max_length <= shape.max_positions:
            return []
        left = (shape.max_positions - max_length) * self.num_virtual_tokens // self.row_tokens
        return [
            f"num_virtual_tokens must be at most {left}, not {self.num_virtual_tokens}: the model has "
            f"{shape.max_positions} positions, and model.max_length takes {max_length} of them"
        ]
