"""Ranges of hyperparameters: floats, integers, a choice or a text.

These classes do not use Optuna, so that `methods/` needs only torch and transformers. `search/strategy/sampling.py`
turns them into Optuna's distributions.
"""

from __future__ import annotations

from dataclasses import dataclass

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Float:
    """Floats in [low, high]; with `log`, they are sampled on a log scale."""

    low: float
    high: float
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        )


@dataclass(frozen=True)
class Int:
    """Integers from low to high, both included; with `log`, they are sampled on a log scale."""

    low: int
    high: int
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several values, without an order."""

    choices: tuple[Scalar, ...]

    def contains(self, value: Scalar) -> bool:
        return any(type(choice) is type(value) and choice == value for choice in self.choices)


@dataclass(frozen=True)
class Text:
    """Any text. It has no range to search, but a study file may list texts to choose from."""


Range = Float | Int | Choice
Allowed = Range | Text
