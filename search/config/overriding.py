"""Checks a hyperparameter of the study file (a value, a list or a range) against what is allowed."""

from __future__ import annotations

import math

from methods.space import Allowed, Choice, Int, Scalar, Text
from search import errors
from search.config.values import HyperparameterConfig, RangeConfig


def problem(allowed: Allowed, override: HyperparameterConfig) -> str:
    """What is wrong with the override; empty if nothing is."""
    if isinstance(override, RangeConfig):
        return _range_problem(allowed, override)
    values = override if isinstance(override, list) else [override]
    if not values:
        return "must be a list with at least one value"
    for value in values:
        if text := _value_problem(allowed, value):
            return text
    if len(set(map(repr, values))) < len(values):
        return f"must not have the same value twice: {errors.show(values)}"
    return ""


def _range_problem(allowed: Allowed, override: RangeConfig) -> str:
    if isinstance(allowed, Choice):
        names = ", ".join(map(errors.show, allowed.choices))
        return f"must be a value or a list of {names}, not a range"
    if isinstance(allowed, Text):
        return "must be a text or a list of texts, not a range"
    if not override.min < override.max:
        return f"min must be below max; got min {override.min:g}, max {override.max:g}"
    if override.log and override.min <= 0:
        return f"min of a log range must be above 0, not {override.min:g}"
    if isinstance(allowed, Int):
        for name, value in (("min", override.min), ("max", override.max)):
            if not value.is_integer():
                return f"{name} must be a whole number, not {value:g}"
    return ""


def _value_problem(allowed: Allowed, value: Scalar) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(allowed, Choice):
        same = [choice for choice in allowed.choices if type(choice) is type(value) and choice == value]
        names = ", ".join(map(errors.show, allowed.choices))
        hint = errors.did_you_mean(value, allowed.choices)
        return "" if same else f"must be one of {names}, not {errors.show(value)}{hint}"
    if isinstance(allowed, Text):
        return "" if isinstance(value, str) else f"must be a text in quotes, not {errors.show(value)}"
    if isinstance(allowed, Int):
        whole = isinstance(value, int) and number
        return "" if whole else f"must be a whole number, not {errors.show(value)}"
    finite = number and math.isfinite(value)  # type: ignore[arg-type]
    return "" if finite else f"must be a number, not {errors.show(value)}"
