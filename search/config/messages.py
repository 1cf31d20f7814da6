"""Turns pydantic's errors into plain messages: the path, what is allowed, what was given, "did you mean"."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from search.config.kinds import KINDS
from search.config.study_config import StudyConfig
from search.config.task_config import TaskConfig
from search.config.values import HYPERPARAMETER_FORMS
from search.errors import Problem, did_you_mean, show

_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "list_type": 'a list, each item on a line that begins with "- "',
}
"""What a field must be, for each type of pydantic's errors."""


def problems(error: ValidationError) -> list[Problem]:
    """Every error of a validation with `StudyConfig`, in the order of the file, one for each path."""
    found: dict[str, Problem] = {}
    for detail in error.errors():
        place = _without_form(detail["loc"])
        problem = Problem(_path(place), _text(place, dict(detail)))
        if detail["type"] == "union_tag_invalid":
            problem = Problem(f"{problem.path}.kind", problem.text)
        found.setdefault(problem.path, problem)
    return list(found.values())


def _path(place: tuple[int | str, ...]) -> str:
    """The path as the file has it, without the kind of task that pydantic adds."""
    if len(place) > 2 and place[0] == "tasks" and place[2] in KINDS:
        place = (*place[:2], *place[3:])
    return ".".join(map(str, place))


def _text(place: tuple[int | str, ...], detail: dict[str, Any]) -> str:
    kind, got, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "union_tag_invalid":
        got = context["tag"]
        return f"must be one of {', '.join(KINDS)}, not {show(got)}{did_you_mean(got, KINDS)}"
    if kind == "missing":
        return f"is missing{_description(place)}"
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind == "value_error":
        return str(context["error"])
    if _is_hyperparameter(place) and kind.endswith(("_type", "_parsing")):
        return f"must be a value, a list of values, or a range {{min: ..., max: ...}}, not {show(got)}"
    if place[-1] == "data_files" and isinstance(got, str):
        return f"must have a file for each split, such as data_files: {{train: {got}}}, not {show(got)}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"must be a section with {_keys(place)}, not {show(got)}"
    return f"must be {_allowed(kind, context)}, not {show(got)}{_hint(kind, got, context)}"


def _allowed(kind: str, context: dict[str, Any]) -> str:
    if kind in _KINDS:
        return _KINDS[kind]
    if kind == "literal_error":
        return "one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
    if kind == "too_short":
        return f"at least {context['min_length']} long"
    if kind == "string_too_long":
        return f"at most {context['max_length']} characters long"
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for bound, words in bounds.items():
        if bound in context:
            return f"{words} {context[bound]}"
    return f"something else ({kind})"


def _hint(kind: str, got: object, context: dict[str, Any]) -> str:
    if kind == "literal_error":
        return did_you_mean(got, str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", "))
    if kind == "string_type" and isinstance(got, bool | int | float):
        return "; put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(got, str):
        return "; write it without quotes"
    return ""


def _unknown_key(place: tuple[int | str, ...]) -> str:
    if place[0] == "methods" or "loss_weight" in place:
        allowed: Sequence[str] = ("min", "max", "log")
    else:
        allowed = list(_fields(place[:-1]))
    return f"unknown key{did_you_mean(place[-1], allowed)}; allowed: {', '.join(allowed)}"


def _keys(place: tuple[int | str, ...]) -> str:
    fields = _fields(place)
    return f"the keys {', '.join(fields)}" if fields else "a key for each entry"


def _description(place: tuple[int | str, ...]) -> str:
    field = _fields(place[:-1]).get(str(place[-1]))
    return f" ({field.description})" if field is not None and field.description else ""


def _fields(place: Sequence[int | str]) -> dict[str, Any]:
    """The fields of the section at `place`; empty if there is no section."""
    annotation: Any = StudyConfig
    for part in place:
        if isinstance(part, int):
            annotation = TaskConfig if place[0] == "tasks" else typing.get_args(annotation)[0]
        elif annotation is TaskConfig and part in KINDS:
            annotation = KINDS[str(part)]
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = _by_name(annotation).get(str(part))
            annotation = field.annotation if field else None
        else:
            annotation = None
        if isinstance(annotation, types.UnionType):
            annotation = typing.get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _by_name(annotation)
    return {}


def _by_name(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """A section's fields by their names in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _is_hyperparameter(place: Sequence[int | str]) -> bool:
    if place[-1] == "loss_weight":
        return True
    return len(place) in (3, 4) and place[0] == "methods" and place[-1] not in ("min", "max", "log")


def _without_form(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The path as the file has it, without the form of a hyperparameter that pydantic adds."""
    form = {"methods": 3, "tasks": 4}.get(str(place[0]) if place else "")
    if form is not None and len(place) > form and place[form] in HYPERPARAMETER_FORMS:
        rest = [part for part in place[form + 1 :] if part not in ("bool", "int", "float", "str")]
        return (*place[:form], *rest)
    return place
