"""Reads the rows of a split, with datasets.load_dataset or from the user's own Python file.

Only the given split is read, so the test split stays unopened during the search. Error messages begin with the place
in the task's section of the study file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from search import errors
from search.config.task_config import FILE_FORMATS, DataConfig
from search.errors import StudyFileError
from search.tasks import file_formats


@dataclass(frozen=True)
class Table:
    """The columns of a split, and the class names of columns that declare them (a ClassLabel or a list of them)."""

    columns: dict[str, list[Any]]
    class_names: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class Source(Protocol):
    """A source of splits.

    Both functions take the split's name, the columns (each with the setting that names it) and the setting that names
    the split. They raise a StudyFileError if there is no such split or column, or if the split is empty.
    """

    def count(self, split: str, columns: Mapping[str, str], field: str) -> int:
        """Counts the rows of a split without looking at values."""

    def read(self, split: str, columns: Mapping[str, str], field: str) -> Table:
        """Reads columns of a split."""


def open_source(config: DataConfig) -> Source:
    """Makes the source that a task's `data` section describes; reads nothing yet."""
    if config.path.endswith(".py"):
        return _OwnFile(config)
    return _Files(config) if config.path in ("conll", "squad") else _Hub(config)


class _OwnFile:
    """The user's Python file with a function splits() that returns {split: [row, ...]}; a row is a dict."""

    def __init__(self, config: DataConfig) -> None:
        self._path = Path(config.path)
        self._splits: Mapping[str, Sequence[Mapping[str, Any]]] | None = None

    def count(self, split: str, columns: Mapping[str, str], field: str) -> int:
        return len(self._rows(split, columns, field))

    def read(self, split: str, columns: Mapping[str, str], field: str) -> Table:
        rows = self._rows(split, columns, field)
        return Table({name: [row[name] for row in rows] for name in columns}, {})

    def _rows(self, split: str, columns: Mapping[str, str], field: str) -> Sequence[Mapping[str, Any]]:
        if self._splits is None:
            self._splits = self._run()
        if split not in self._splits:
            raise _no_split(field, split, self._splits)
        rows = self._splits[split]
        if not rows:
            raise StudyFileError(f"{field}: split {split!r} has no rows")
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise StudyFileError(
                    f"data.path: each row must be a dict from column to value; row {number} of {split!r} is a "
                    f"{type(row).__name__}"
                )
            _require_columns(columns, row, split, f" in row {number}")
        return rows

    def _run(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        splits = getattr(_import(self._path), "splits", None)
        if not callable(splits):
            raise StudyFileError(f"data.path: {self._path} must define a function splits()")
        try:
            found = splits()
        except Exception as error:
            raise StudyFileError(
                f"data.path: splits() in {self._path} failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(found, Mapping):
            raise StudyFileError(
                f"data.path: splits() in {self._path} must return {{split: [row, ...]}}, not a {type(found).__name__}"
            )
        return {str(name): list(rows) for name, rows in found.items()}


class _Files:
    """Files in a format that `datasets` cannot read."""

    def __init__(self, config: DataConfig) -> None:
        self._config = config

    def count(self, split: str, columns: Mapping[str, str], field: str) -> int:
        return len(self._rows(split, columns, field))

    def read(self, split: str, columns: Mapping[str, str], field: str) -> Table:
        rows = self._rows(split, columns, field)
        return Table({name: [row[name] for row in rows] for name in columns}, {})

    def _rows(self, split: str, columns: Mapping[str, str], field: str) -> list[file_formats.Row]:
        files = self._config.data_files or {}
        if split not in files:
            raise _no_split(field, split, files)
        rows = file_formats.read(self._config.path, files[split], f"data.data_files.{split}")
        if not rows:
            raise StudyFileError(f"{field}: split {split!r} has no rows")
        _require_columns(columns, rows[0], split)
        return rows


class _Hub:
    """Everything that datasets.load_dataset takes."""

    def __init__(self, config: DataConfig) -> None:
        self._config = config

    def count(self, split: str, columns: Mapping[str, str], field: str) -> int:
        return len(self._data(split, columns, field))

    def read(self, split: str, columns: Mapping[str, str], field: str) -> Table:
        data = self._data(split, columns, field)
        # In a column of lists, the feature of the elements has the names.
        features = {name: getattr(data.features[name], "feature", data.features[name]) for name in columns}
        names = {name: tuple(found.names) for name, found in features.items() if hasattr(found, "names")}
        return Table({name: list(data[name]) for name in columns}, names)

    def _data(self, split: str, columns: Mapping[str, str], field: str) -> Any:
        data = self._load(split, field)
        _require_columns(columns, data.column_names, split)
        if len(data) == 0:
            raise StudyFileError(f"{field}: split {split!r} has no rows")
        return data

    def _load(self, split: str, field: str) -> Any:
        config = self._config
        arguments: dict[str, Any] = {"name": config.name, "revision": config.revision, "split": split}
        if config.data_files is not None:
            if split not in config.data_files:
                raise _no_split(field, split, config.data_files)
            file = config.data_files[split]
            if config.path in FILE_FORMATS and "://" not in file and not _exists(file):
                raise StudyFileError(f"data.data_files.{split}: there is no file {file}")
            arguments["data_files"] = {split: file}
        if config.path == "csv":
            arguments["keep_default_na"] = False  # "None", "NA" and "null" may be texts or labels
        return self._load_dataset(arguments, field)

    def _load_dataset(self, arguments: dict[str, Any], field: str) -> Any:
        import datasets  # slow to import, and not needed for the user's own file

        datasets.disable_progress_bars()
        path, split = self._config.path, arguments["split"]
        try:
            return datasets.load_dataset(path, **arguments)
        except ValueError as error:
            if "Unknown split" in str(error):
                there_are = str(error).partition("Should be one of ")[2].strip("[].").replace("'", "")
                raise _no_split(field, split, there_are.split(", ")) from error
            raise _cannot_load(path, arguments, error) from error
        # StopIteration: what its reader of JSON raises where a file has no line to begin with
        except (
            OSError,
            RuntimeError,
            ImportError,
            StopIteration,
            datasets.exceptions.DatasetsError,
        ) as error:
            raise _cannot_load(path, arguments, error) from error


def fingerprint(rows: Iterable[Sequence[str | None]]) -> str:
    """The sha256 of rows of texts in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


def _import(path: Path) -> ModuleType:
    """Imports the user's file under a unique name, so that it hides no installed module."""
    if not path.is_file():
        raise StudyFileError(f"data.path: there is no file {path}")
    name = f"promptfront_data_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a spec"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise StudyFileError(f"data.path: running {path} failed: {type(error).__name__}: {error}") from error
    return module


def _exists(file: str) -> bool:
    """Whether a path or pattern matches a file."""
    path = Path(file)
    return path.exists() or any(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))


def _require_columns(columns: Mapping[str, str], there: Iterable[str], split: str, where: str = "") -> None:
    there = [str(name) for name in there]
    for name, field in columns.items():
        if name not in there:
            hint = errors.did_you_mean(name, there)
            raise StudyFileError(
                f"{field}: no column {name!r} in split {split!r}{where}{hint}; there are: {', '.join(there)}"
            )


def _no_split(field: str, split: str, there: Iterable[str]) -> StudyFileError:
    there = [str(name) for name in there]
    advice = "; write null if there is none" if field == "data.test_split" else ""
    hint = errors.did_you_mean(split, there)
    return StudyFileError(f"{field}: no split {split!r}{hint}; there are: {', '.join(there)}{advice}")


_EMPTY = ("corresponds to no data", "No columns to parse from file")
"""What datasets and pandas say of files without rows, and of files of zero bytes."""


def _cannot_load(path: str, arguments: Mapping[str, Any], error: Exception) -> StudyFileError:
    cause = error.__cause__ or error  # datasets wraps the parser's error in one without details
    place, what = "data.path", f"datasets cannot load {path!r}"
    if "data_files" in arguments:
        ((split, file),) = arguments["data_files"].items()
        place, what = f"data.data_files.{split}", f"datasets cannot load {file} as {path!r}"
        if isinstance(error, StopIteration) or any(text in str(cause) for text in _EMPTY):
            return StudyFileError(f"{place}: {file} has no rows")
    return StudyFileError(f"{place}: {what}: {type(cause).__name__}: {cause}")
