"""Writes docs/study_file.md from the settings' own descriptions: `python docs/generate.py`.

The settings are the fields of `search/config/`; the hyperparameters are those of `methods.names()`.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo

import methods
from methods.space import Allowed, Choice
from search.cli.methods_table import describe
from search.config.kinds import DEFAULT_KIND, KINDS
from search.config.study_config import ModelConfig, StudyConfig
from search.config.study_file import inline
from search.config.task_config import DataConfig, TaskConfig
from search.config.values import HYPERPARAMETER_FORMS, RangeConfig, Section

PAGE = Path(__file__).resolve().parent / "study_file.md"

_TYPES = {str: "text", Path: "path", int: "whole number", float: "number", bool: "`true` or `false`"}
_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}

_OPENING = """\
# The study file

This page has every setting of a study file: its default, the values it may have, and what it means.

A study file is YAML. `promptfront init` writes one with every setting, `promptfront check` validates it, and `--set KEY=VALUE`
changes a value for one call. Paths are relative to the study file, `output_dir` to the current folder.

`python docs/generate.py` writes this page from the settings' own descriptions. A method that is not here yet, or that another
package offers, is shown by `promptfront methods`.
"""

_METHODS = """\
## methods

`methods` has a section for each method that is compared. An empty one (`head_only: {}`) takes the method's own search space. A
hyperparameter is written in one of three forms, which replaces its own range:

| form | example | meaning |
|---|---|---|
| value | `learning_rate: 0.01` | it is not searched |
| list | `init: [vocab, labels]` | a choice |
| range | `num_virtual_tokens: { min: 5, max: 50, log: true }` | a range; `log` samples it on a log scale |
"""


def page(names: Sequence[str]) -> str:
    """The whole page, with the methods of those names."""
    fields = StudyConfig.model_fields
    nested = {name for name, field in fields.items() if _section(field)} | {"tasks", "methods"}
    parts = [_OPENING, "## The study\n", _table(StudyConfig, leave_out=nested)]
    parts += [
        "## model\n",
        _doc(ModelConfig),
        _table(ModelConfig),
        *_tasks(),
        _METHODS,
        *map(_method, names),
    ]
    for name, field in fields.items():
        section = _section(field)
        if section and name != "model":
            parts += [f"## {name}\n", _doc(section), _table(section)]
    return "\n".join(parts)


def _tasks() -> list[str]:
    common = set(TaskConfig.model_fields) - {"kind"}
    parts = [
        "## tasks\n",
        "`tasks` is a list. Every task has these settings, and those of its `kind` below.\n",
    ]
    parts.append(_table(TaskConfig, leave_out={"kind"}))
    for kind, section in KINDS.items():
        default = " This is the default kind." if kind == DEFAULT_KIND else ""
        parts += [f"### {kind}\n", _doc(section, default), _table(section, leave_out=common)]
    return [*parts, "### data\n", _doc(DataConfig), _table(DataConfig)]


def _method(name: str) -> str:
    described = methods.describe(name)
    baseline = " It is a baseline." if described.baseline else ""
    lines = [f"### {name}\n", f"{described.title}.{baseline}\n"]
    lines += ["| hyperparameter | default | searched by default | meaning |", "|---|---|---|---|"]
    for field, definition in described.config.fields().items():
        searched = definition.metadata["searched"]
        values = _allowed(searched) if searched else f"no ({_allowed(definition.metadata['allowed'])})"
        where = " and ".join(f"`{k}: {inline(v)}`" for k, v in definition.metadata["where"].items())
        meaning = definition.metadata["help"] + (f"; applies with {where}" if where else "")
        lines.append(_row(f"`{field}`", f"`{inline(definition.default)}`", values, meaning))
    return "\n".join(lines) + "\n"


def _allowed(allowed: Allowed) -> str:
    """What a hyperparameter may be, choices as the study file writes them."""
    if isinstance(allowed, Choice):
        return ", ".join(f"`{inline(choice)}`" for choice in allowed.choices)
    return describe(allowed)


def _table(section: type[Section], leave_out: set[str] | None = None) -> str:
    lines = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for own_name, field in section.model_fields.items():
        if own_name in (leave_out or ()):
            continue
        default = "required" if field.is_required() else f"`{inline(_plain(field.default))}`"
        values, meaning = _values(field), field.description or ""
        if _section(field):
            values, meaning = "a section", "see [data](#data)"
        lines.append(_row(f"`{field.alias or own_name}`", default, values, meaning))
    return "\n".join(lines) + "\n"


def _doc(section: type[Section], more: str = "") -> str:
    return " ".join((inspect.getdoc(section) or "").split()) + more + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _section(field: FieldInfo) -> type[Section] | None:
    """The class of a field that is a section of its own."""
    found = field.annotation
    return found if isinstance(found, type) and issubclass(found, Section) else None


def _values(field: FieldInfo) -> str:
    """What a field may be, in words: "whole number, at least 1, or null"."""
    bounds = [
        text.format(
            f"{getattr(each, name):g}" if isinstance(getattr(each, name), float) else getattr(each, name)
        )
        for each in field.metadata
        for name, text in _BOUNDS.items()
        if getattr(each, name, None) is not None
    ]
    kind, empty = _kind(field.annotation)
    return ", ".join([kind, *bounds]) + (", or `null`" if empty else "")


def _kind(annotation: Any) -> tuple[str, bool]:
    """A type in words, and whether it may be null."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments), False
    if origin is list:
        return f"list of: {_kind(arguments[0])[0]}", False
    if origin is dict:
        return "a mapping", False
    if origin in (typing.Union, types.UnionType):
        flat = [each for each in arguments if each is not type(None)]
        if _mentions(annotation, RangeConfig):
            return ", ".join(HYPERPARAMETER_FORMS[:-1]) + f" or {HYPERPARAMETER_FORMS[-1]}", type(
                None
            ) in arguments
        return " or ".join(_kind(each)[0] for each in flat), type(None) in arguments
    return _TYPES.get(annotation, "text"), False


def _mentions(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_mentions(each, wanted) for each in typing.get_args(annotation))


if __name__ == "__main__":
    PAGE.write_text(page(methods.names()), encoding="utf-8")
