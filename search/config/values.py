"""Base classes of a study file's sections, and types of values that are checked.

These are hyperparameters (a value, a list of values or a range), names, templates, hashes and shares of a machine.
"""

from __future__ import annotations

import re
import string
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag

Scalar = bool | int | float | str


class Section(BaseModel):
    """A section of the study file: frozen; refuses unknown keys, and text instead of numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True
    )


class RangeConfig(Section):
    """A hyperparameter's range as the study file gives it."""

    min: float
    max: float
    log: bool = False


HYPERPARAMETER_FORMS = ("value", "list", "range")


def _form(value: object) -> str:
    """The form of a hyperparameter, so that an error is about this form only."""
    if isinstance(value, dict | RangeConfig):
        return "range"
    return "list" if isinstance(value, list) else "value"


HyperparameterConfig = Annotated[
    Annotated[Scalar, Tag("value")]
    | Annotated[list[Scalar], Tag("list")]
    | Annotated[RangeConfig, Tag("range")],
    Discriminator(_form),
]
"""A value (not searched), a list (a choice) or a range; if it is left out, the method's own range is searched."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError(
            f"must have only letters, digits, '_', '-' and '.', and begin with a letter or digit, not {value!r}"
        )
    return value


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"must be the 64 lower-case hexadecimal digits that sha256sum prints, not {value!r}")
    return value


def _whole_above_one(value: float) -> float:
    if value > 1 and not value.is_integer():
        raise ValueError(f"must be a fraction below 1 or a whole number, not {value:g}")
    return value


def template_columns(template: str) -> list[str]:
    """The columns that a template names; a template without braces is itself a column's name."""
    if "{" not in template and "}" not in template:
        return [template]
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def filled(template: str) -> str:
    """An example of a text that a template makes."""
    return re.sub(r"\{[^}]*\}", "some text", template) if "{" in template else "some text"


def _template(value: str) -> str:
    try:
        columns = template_columns(value)
    except ValueError as error:
        raise ValueError(f"must have columns in pairs of braces, not {value!r}: {error}") from None
    if not all(columns) or not columns:
        raise ValueError(f'must be a column or a template such as "{{title}} {{body}}", not {value!r}')
    return value


Name = Annotated[str, AfterValidator(_name)]
Template = Annotated[str, AfterValidator(_template)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
Resource = Annotated[float, AfterValidator(_whole_above_one)]
