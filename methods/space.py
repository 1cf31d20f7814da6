"""What a hyperparameter may be: a range of floats or integers, or a choice.

Plain values without Optuna, so that a method can publish its search space and `methods/` needs nothing
but torch and transformers. `search/config/spaces.py` turns them into Optuna's suggestions.
"""

from __future__ import annotations

from dataclasses import dataclass

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Float:
    """Floats in [low, high], uniform or, with `log`, uniform in their logarithm."""

    low: float
    high: float
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        )


@dataclass(frozen=True)
class Int:
    """Integers in [low, high], both included."""

    low: int
    high: int
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several values, in no order."""

    choices: tuple[Scalar, ...]

    def contains(self, value: Scalar) -> bool:
        return any(type(choice) is type(value) and choice == value for choice in self.choices)


@dataclass(frozen=True)
class Text:
    """Any text. It is no range to search; a study file may list texts to choose from."""


Range = Float | Int | Choice
Allowed = Range | Text
