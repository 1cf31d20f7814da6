"""What the sections of a study file are made of, and single values that have a form of their own.

A hyperparameter is a value, a list of values or a range; names, templates, hashes and shares of a machine are checked.
"""

from __future__ import annotations

import re
import string
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag

Scalar = bool | int | float | str


class Section(BaseModel):
    """A part of the study file: unknown keys are errors, text is no number, values cannot be changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True
    )


class RangeConfig(Section):
    """A range of a hyperparameter, as written in the study file."""

    min: float
    max: float
    log: bool = False


HYPERPARAMETER_FORMS = ("value", "list", "range")


def _form(value: object) -> str:
    """Which form a hyperparameter is written in, so that an error speaks of that form only."""
    if isinstance(value, dict | RangeConfig):
        return "range"
    return "list" if isinstance(value, list) else "value"


HyperparameterConfig = Annotated[
    Annotated[Scalar, Tag("value")]
    | Annotated[list[Scalar], Tag("list")]
    | Annotated[RangeConfig, Tag("range")],
    Discriminator(_form),
]
"""A value (not searched), a list (a choice), or a range; without any, the method's own space."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError(
            f"must be letters, digits, '_', '-' and '.', and begin with a letter or digit, not {value!r}"
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
    """The columns that a text's template names; a template without braces is a column's name itself."""
    if "{" not in template and "}" not in template:
        return [template]
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def filled(template: str) -> str:
    """A text that a template makes, as an example: what stands around the columns stays in its place."""
    return re.sub(r"\{[^}]*\}", "some text", template) if "{" in template else "some text"


def _template(value: str) -> str:
    try:
        columns = template_columns(value)
    except ValueError as error:
        raise ValueError(f"must name columns in pairs of braces, not {value!r}: {error}") from None
    if not all(columns) or not columns:
        raise ValueError(f'must be a column or a template such as "{{title}} {{body}}", not {value!r}')
    return value


Name = Annotated[str, AfterValidator(_name)]
Template = Annotated[str, AfterValidator(_template)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
Resource = Annotated[float, AfterValidator(_whole_above_one)]
