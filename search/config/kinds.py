"""Finds the kinds of task: the modules of `search/tasks/` that define `Config` and `load`.

Another package can add a kind as an entry point of the group `promptfront.kinds`, with the kind's name and its module.
These modules import nothing heavy, so that a study file is checked quickly.
"""

from __future__ import annotations

import ast
import importlib
import typing
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag, TypeAdapter

from search.config.task_config import TaskConfig
from search.errors import StudyFileError

ENTRY_POINTS = "promptfront.kinds"
DEFAULT_KIND = "sequence_classification"


def _modules() -> dict[str, str]:
    """The module of each kind, the default first."""
    folder = Path(__file__).parents[1] / "tasks"
    found = {path.stem: f"search.tasks.{path.stem}" for path in folder.glob("*.py") if _is_kind(path)}
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in found:
            raise StudyFileError(
                f"{found[point.name]} and {point.module} both offer a kind {point.name!r}: rename or uninstall one"
            )
        found[point.name] = point.module
    return dict(sorted(found.items(), key=lambda item: (item[0] != DEFAULT_KIND, item[0])))


def _is_kind(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return {"Config", "load"} <= names


def _settings(name: str, module: str) -> type[TaskConfig]:
    """The class `Config` of a kind, if a study file can have it."""
    of = f"kind {name!r} of the module {module}"
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise StudyFileError(
            f"the {of} cannot be imported: {type(error).__name__}: {error}. Mend or uninstall the package"
        ) from error
    config: Any = getattr(found, "Config", None)
    if not (isinstance(config, type) and issubclass(config, TaskConfig) and hasattr(found, "load")):
        raise StudyFileError(
            f"the {of} must have a Config (a search.config.task_config.TaskConfig) and a function load; see "
            "docs/tasks.md"
        )
    if typing.get_args(config.model_fields["kind"].annotation) != (name,):
        raise StudyFileError(f"the {of} must have the field kind: Literal[{name!r}]")
    return config


KINDS: dict[str, type[TaskConfig]] = {name: _settings(name, module) for name, module in _modules().items()}
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
