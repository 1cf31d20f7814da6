"""Finds the kinds of task: the modules of `search/tasks/` that define `Config` and `load`.

Another package can add a kind as an entry point of the group `promptfront.kinds`, with the kind's name and its module.
These modules import nothing heavy, so that a study file is checked quickly.
"""

from __future__ import annotations

import ast
import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag, TypeAdapter

from search.config.task_config import TaskConfig

ENTRY_POINTS = "promptfront.kinds"
DEFAULT_KIND = "sequence_classification"


def _modules() -> dict[str, str]:
    """The module of each kind, the default first."""
    folder = Path(__file__).parents[1] / "tasks"
    ours = {path.stem: f"search.tasks.{path.stem}" for path in folder.glob("*.py") if _is_kind(path)}
    offered = {point.name: point.module for point in entry_points(group=ENTRY_POINTS)}
    if twice := ours.keys() & offered.keys():
        name = min(twice)
        raise ValueError(
            f"promptfront has a kind {name!r} already, so rename the one that {offered[name]} offers"
        )
    return dict(sorted((ours | offered).items(), key=lambda item: (item[0] != DEFAULT_KIND, item[0])))


def _is_kind(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return {"Config", "load"} <= names


KINDS: dict[str, type[TaskConfig]] = {
    name: importlib.import_module(module).Config for name, module in _modules().items()
}
"""The settings class of each kind of task."""


def kind(content: object) -> str:
    """The kind of a task's section, given as a dict or as settings; the default kind if it names none."""
    if isinstance(content, dict):
        return str(content.get("kind", DEFAULT_KIND))
    return str(getattr(content, "kind", DEFAULT_KIND))


if TYPE_CHECKING:
    AnyTaskConfig = TaskConfig
else:
    AnyTaskConfig = Annotated[
        Union[tuple(Annotated[config, Tag(name)] for name, config in KINDS.items())],  # noqa: UP007
        Discriminator(kind),
    ]
"""A task's section; its `kind` chooses the class."""

_ANY: TypeAdapter[AnyTaskConfig] = TypeAdapter(AnyTaskConfig)


def parse(content: dict[str, Any]) -> AnyTaskConfig:
    """Parses the settings of one task from plain values.

    Raises:
        pydantic.ValidationError: a setting is wrong.
    """
    return _ANY.validate_python(content)
