"""Reads a study file (YAML and `--set` overrides) into a validated `StudyConfig`, and writes one.

Everything that does not need the model or the data is checked here, all at once; `search/plan/check.py` checks the
rest.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from search import errors
from search.config import messages, spaces
from search.config.study_config import StudyConfig
from search.config.task_config import FILE_FORMATS
from search.config.values import HyperparameterConfig
from search.errors import Problem, StudyFileError

_FLOAT = re.compile(
    r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)
_ELSEWHERE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_MOST = 100_000
"""Values in a study file, aliases written out; a few lines of them can stand for billions."""
_HYPERPARAMETERS: TypeAdapter[dict[str, HyperparameterConfig]] = TypeAdapter(dict[str, HyperparameterConfig])


class _Loader(yaml.SafeLoader):
    """A safe loader that reads 1e-3 as a number (text in YAML 1.1) and refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} appears twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes text which `_Loader` would read as a number."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def load(
    path: Path, overrides: Sequence[str] = (), place: Callable[[Path, str], str] | None = None
) -> StudyConfig:
    """Reads and validates a study file.

    Args:
        path: the YAML file. Paths in it are relative to its folder, except `output_dir`, which is relative to the
            current folder.
        overrides: changes of the form `a.b.c=value` with a YAML value; items of a list are numbered, as in
            `tasks.0.few_shot=8`.
        place: maps (the file's folder, a path in the file) to the path in the study; None makes paths absolute.

    Raises:
        StudyFileError: the file cannot be read or is wrong; one line per problem.
    """
    content = _read(path)
    found = [problem for override in overrides if (problem := _override(content, override))]
    return _with_paths(_validated(content, path, found), path.resolve().parent, place or _absolute)


def parse(content: dict[str, Any]) -> StudyConfig:
    """Validates a study given as a dict with a study file's keys; its paths are relative to the current folder.

    Raises:
        StudyFileError: something in it is wrong; one line per problem.
    """
    return _with_paths(_validated(content, Path("the study"), []), Path.cwd(), _absolute)


def _validated(content: dict[str, Any], path: Path, found: list[Problem]) -> StudyConfig:
    try:
        config = StudyConfig.model_validate(content)
    except ValidationError as error:
        found += messages.problems(error)
        raise errors.study_file_error(found + _method_problems(content), path) from None
    for method, hyperparameters in config.methods.items():
        found += spaces.problems(method, hyperparameters, config.tasks)
    found += _jobs_problems(config)
    if not found and config.search.sampler == "grid":
        found += spaces.grid_problems(config.methods, config.tasks)
    if found:
        raise errors.study_file_error(found, path)
    return config


def dump(config: StudyConfig) -> str:
    """Writes the study as YAML with every setting; `load` reads the same study back."""
    content = config.model_dump(mode="json")
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def inline(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyFileError(f"there is no study file {path}; write one with promptfront init") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"cannot read the study file {path}: {error}") from None
    try:
        content = yaml.load(text, Loader=_Loader)
        size = _size(content, _MOST)
    except yaml.YAMLError as error:
        raise StudyFileError(f"{path} is not valid YAML: {error}") from None
    except ValueError as error:  # a number of thousands of digits, a date of the 40th of May
        raise StudyFileError(f"{path} has a value that cannot be read: {error}") from None
    except RecursionError:
        raise StudyFileError(
            f"{path} is nested too deeply, or an alias (*name) stands in what it names"
        ) from None
    if size > _MOST:
        raise StudyFileError(
            f"{path} has more than {_MOST:,} values once its aliases (*name) are written out"
        )
    if not isinstance(content, dict):
        raise StudyFileError(
            f"{path} must have sections such as model: and tasks:, not {errors.show(content)}"
        )
    unshared: dict[str, Any] = _unshared(content)
    return unshared


def _size(value: Any, most: int) -> int:
    """How many values there are, each as often as aliases repeat it; counts no further than one above `most`."""
    if most < 0 or not isinstance(value, dict | list):
        return 1
    count = 1
    for item in value.values() if isinstance(value, dict) else value:
        count += _size(item, most - count)
        if count > most:
            break
    return count


def _unshared(value: Any) -> Any:
    """A copy in which YAML's aliases (*name) share nothing, so that an override changes only one place."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _override(content: dict[str, Any], override: str) -> Problem | None:
    """Sets one value in `content`, or returns what is wrong with the override."""
    path, equals, text = override.partition("=")
    path = path.strip()
    if not (equals and path):
        return Problem("", f"--set {override}: must be KEY=VALUE, such as search.trials_per_method=8")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        return Problem(path, f"--set {override}: the value is not valid YAML: {' '.join(str(error).split())}")
    *parents, last = path.split(".")
    place: Any = content
    for depth, key in enumerate(parents):
        place = _enter(place, key)
        if not isinstance(place, dict | list):
            return Problem(
                path, f"--set {override}: {'.'.join(parents[: depth + 1])} is a value, not a section"
            )
    if isinstance(place, dict):
        place[last] = value
    elif last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    else:
        return Problem(path, f"--set {override}: {last} must be a number from 0 to {len(place) - 1}")
    return None


def _enter(place: dict[str, Any] | list[Any], key: str) -> Any:
    """What `key` names inside `place`; makes an empty section if the key is missing."""
    if isinstance(place, list):
        return place[int(key)] if key.isdigit() and int(key) < len(place) else None
    if place.get(key) is None:
        place[key] = {}
    return place[key]


def _method_problems(content: dict[str, Any]) -> list[Problem]:
    """Finds problems of well-formed hyperparameters in a file that is not valid as a whole."""
    section = content.get("methods")
    found = []
    for method, hyperparameters in (section if isinstance(section, dict) else {}).items():
        try:
            found += spaces.problems(str(method), _HYPERPARAMETERS.validate_python(hyperparameters or {}))
        except ValidationError:  # the file's own errors already have this
            found += spaces.problems(str(method), {})
    return found


def _jobs_problems(config: StudyConfig) -> list[Problem]:
    """Finds results that would be lost with a job's working directory; they need a place that the cluster keeps."""
    if config.cluster.jobs is None:
        return []
    found = []
    why = "because a job's working directory is temporary: give a path on storage that all nodes of the cluster share"
    if not config.output_dir.is_absolute():
        text = f"must be an absolute path with Ray Jobs, not {str(config.output_dir)!r}, {why}"
        found.append(Problem("output_dir", text))
    checkpoints = config.tracking.checkpoints or "/"
    if "://" not in checkpoints and not Path(checkpoints).is_absolute():
        text = f"must be an absolute path or a URI with Ray Jobs, not {checkpoints!r}, {why}"
        found.append(Problem("tracking.checkpoints", text))
    for name in ("storage", "mlflow_uri"):
        url = getattr(config.tracking, name) or ""
        if url.startswith("sqlite:") and not url.startswith("sqlite:////"):
            text = f"must have an absolute path with Ray Jobs (sqlite:////folder/file.db), not {url!r}, {why}"
            found.append(Problem(f"tracking.{name}", text))
    return found


def _with_paths(config: StudyConfig, folder: Path, place: Callable[[Path, str], str]) -> StudyConfig:
    """The same study with `place` applied to the paths of its model and data."""
    model = config.model
    if (folder / Path(model.name_or_path).expanduser()).is_dir():
        model = model.model_copy(update={"name_or_path": place(folder, model.name_or_path)})
    tasks = []
    for task in config.tasks:
        update: dict[str, Any] = {}
        data = task.data
        if data.path.endswith(".py") or (folder / data.path).is_dir():
            update["path"] = place(folder, data.path)
        if data.data_files and data.path in FILE_FORMATS:
            update["data_files"] = {split: place(folder, file) for split, file in data.data_files.items()}
        tasks.append(task.model_copy(update={"data": data.model_copy(update=update)}))
    return config.model_copy(update={"model": model, "tasks": tasks})


def _absolute(folder: Path, path: str) -> str:
    return path if _ELSEWHERE.match(path) else os.path.realpath(folder / Path(path).expanduser())
