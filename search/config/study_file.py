"""Reads a study file: YAML and `--set` overrides in, a validated `StudyConfig` out; and writes one back.

Everything that can be known without the model and the data is checked here, all at once;
`search/plan/check.py` checks the rest.
"""

from __future__ import annotations

import math
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
_HYPERPARAMETERS: TypeAdapter[dict[str, HyperparameterConfig]] = TypeAdapter(dict[str, HyperparameterConfig])


class _Loader(yaml.SafeLoader):
    """Safe; 1e-3 is a number (YAML 1.1 takes it for text), and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Puts text that looks like a number to `_Loader` in quotes."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def load(
    path: Path, overrides: Sequence[str] = (), place: Callable[[Path, str], str] | None = None
) -> StudyConfig:
    """The study that a file describes, validated whole.

    Args:
        path: of the YAML file. Paths in it are relative to its folder, but `output_dir`, which is relative
            to the current one.
        overrides: `a.b.c=value` each, the value in YAML; a list's items are numbered: `tasks.0.few_shot=8`.
        place: (folder of the file, a path in it) is what the study has instead; else the absolute path.

    Raises:
        StudyFileError: the file cannot be read, or something in it cannot be; a line for each problem.
    """
    content = _read(path)
    found = [problem for override in overrides if (problem := _override(content, override))]
    return _with_paths(_validated(content, path, found), path.resolve().parent, place or _absolute)


def parse(content: dict[str, Any]) -> StudyConfig:
    """The study that a dict describes, with a study file's keys; its paths are relative to the current directory.

    Raises:
        StudyFileError: something in it cannot be; a line for each problem.
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
    """The study as YAML, every setting spelled out; `load` reads it back equal."""
    content = config.model_dump(mode="json")
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def inline(value: object) -> str:
    """A value as YAML in one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyFileError(f"no study file {path}; `promptfront init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"cannot read the study file {path}: {error}") from None
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise StudyFileError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise StudyFileError(
            f"{path} must hold sections such as model: and tasks:, not {errors.show(content)}"
        )
    unshared: dict[str, Any] = _unshared(content)
    return unshared


def _unshared(value: Any) -> Any:
    """A copy in which what YAML's aliases (*name) repeat is there more than once, to be overridden apart."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _override(content: dict[str, Any], override: str) -> Problem | None:
    """Sets one value in `content`, or says why it cannot be."""
    path, equals, text = override.partition("=")
    path = path.strip()
    if not (equals and path):
        return Problem(
            "", f"--set {override}: must be a path and a value, such as search.trials_per_method=8"
        )
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
    """What `key` names inside `place`; an empty section is made where a key is missing."""
    if isinstance(place, list):
        return place[int(key)] if key.isdigit() and int(key) < len(place) else None
    if place.get(key) is None:
        place[key] = {}
    return place[key]


def _method_problems(content: dict[str, Any]) -> list[Problem]:
    """Problems of the hyperparameters that are well-formed, where the file as a whole is not."""
    section = content.get("methods")
    found = []
    for method, hyperparameters in (section if isinstance(section, dict) else {}).items():
        try:
            found += spaces.problems(str(method), _HYPERPARAMETERS.validate_python(hyperparameters or {}))
        except ValidationError:  # among the file's own errors
            found += spaces.problems(str(method), {})
    return found


def _jobs_problems(config: StudyConfig) -> list[Problem]:
    """What a job leaves in its working directory is lost: results have to have a place that the cluster keeps."""
    if config.cluster.jobs is None:
        return []
    found = []
    why = "since a job's working directory is temporary: a path that every node of the cluster has, and keeps"
    if not config.output_dir.is_absolute():
        text = f"must be absolute over Ray Jobs, {why}; not {str(config.output_dir)!r}"
        found.append(Problem("output_dir", text))
    checkpoints = config.tracking.checkpoints or "/"
    if "://" not in checkpoints and not Path(checkpoints).is_absolute():
        text = f"must be absolute over Ray Jobs, or a URI, {why}; not {checkpoints!r}"
        found.append(Problem("tracking.checkpoints", text))
    for name in ("storage", "mlflow_uri"):
        url = getattr(config.tracking, name) or ""
        if url.startswith("sqlite:") and not url.startswith("sqlite:////"):
            text = f"must have an absolute path over Ray Jobs (sqlite:////folder/file.db), {why}; not {url!r}"
            found.append(Problem(f"tracking.{name}", text))
    return found


def _with_paths(config: StudyConfig, folder: Path, place: Callable[[Path, str], str]) -> StudyConfig:
    """The same study, the paths to its model and data as `place` has them."""
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
    return path if _ELSEWHERE.match(path) else str((folder / Path(path).expanduser()).resolve())
