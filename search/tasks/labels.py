"""Reads the label column of a sequence classification: one label per row, several, or a number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from search import errors
from search.errors import StudyFileError
from search.tasks.sources import Table
from search.tasks.splits import place

_FEW_LABELS = 20

Label = str | int | bool


class Labels(Protocol):
    """Reads the label column.

    Attributes:
        names: the labels' names in the order of their numbers; empty for a regression.
    """

    names: tuple[str, ...]

    def targets(self, table: Table, split: str) -> list[list[int]] | list[list[float]]:
        """The targets of each row: its label's number, a 0 or 1 for each label, or its value.

        Raises:
            StudyFileError: a row has no label, or a label that train does not have.
        """

    def classes(self, targets: Sequence[Sequence[float]]) -> list[object]:
        """The class of each row, by which rows are drawn evenly."""

    def warnings(self, targets: Sequence[Sequence[float]], few_shot: int | None) -> list[str]:
        """Warnings about the labels of the training rows."""


def read_labels(column: str, problem_type: str, train: Table, split: str) -> Labels:
    """Makes the reader of a label column from the training rows; `split` is their split's name."""
    match problem_type:
        case "single_label_classification":
            return _One(column, train, split)
        case "multi_label_classification":
            return _Several(column, train, split)
    return _Number(column)


class _One:
    """One label per row."""

    def __init__(self, column: str, train: Table, split: str) -> None:
        self._column = column
        self._train = split
        declared = train.class_names.get(column)
        if declared is not None:
            self._values: dict[Label, str] = dict(enumerate(declared))
        else:
            self._values = _named(_label(v, split, row) for row, v in enumerate(train.columns[column]))
            if len(self._values) < 2:
                only = errors.show(next(iter(self._values)))
                raise StudyFileError(f"label: must have at least two values in {split!r}; it has only {only}")
            if len(self._values) > max(_FEW_LABELS, len(train) // 2):
                raise StudyFileError(
                    f"label: must be a column of classes; {column!r} has {len(self._values)} different values in the "
                    f"{len(train)} rows of {split!r}"
                )
        self.names = tuple(self._values.values())

    def targets(self, table: Table, split: str) -> list[list[int]]:
        numbers = {value: number for number, value in enumerate(self._values)}
        return [
            [_known(_label(value, split, row), numbers, self.names, row, split, self._train)]
            for row, value in enumerate(table.columns[self._column])
        ]

    def classes(self, targets: Sequence[Sequence[float]]) -> list[object]:
        return [target for (target,) in targets]

    def warnings(self, targets: Sequence[Sequence[float]], few_shot: int | None) -> list[str]:
        counts = Counter(target for (target,) in targets)
        wanted = few_shot or 1
        return [
            f"label {name!r}: {counts[number]} of {wanted} rows found in train"
            for number, name in enumerate(self.names)
            if counts[number] < wanted
        ]


class _Several:
    """A list of labels per row, which may be empty; the targets are a 0 or 1 for each label."""

    def __init__(self, column: str, train: Table, split: str) -> None:
        self._column = column
        self._train = split
        declared = train.class_names.get(column)
        if declared is not None:
            self._values: dict[Label, str] = dict(enumerate(declared))
        else:
            self._values = _named(
                _label(value, split, row)
                for row in range(len(train))
                for value in self._list(train, row, split)
            )
        if len(self._values) < 2:
            raise StudyFileError(
                f"label: must have at least two labels in {split!r}; it has {len(self._values)}"
            )
        self.names = tuple(self._values.values())

    def targets(self, table: Table, split: str) -> list[list[int]]:
        numbers = {value: number for number, value in enumerate(self._values)}
        found = []
        for row in range(len(table)):
            mine = {
                _known(_label(value, split, row), numbers, self.names, row, split, self._train)
                for value in self._list(table, row, split)
            }
            found.append([int(number in mine) for number in range(len(numbers))])
        return found

    def classes(self, targets: Sequence[Sequence[float]]) -> list[object]:
        return [0] * len(targets)

    def warnings(self, targets: Sequence[Sequence[float]], few_shot: int | None) -> list[str]:
        counts = [sum(column) for column in zip(*targets, strict=True)]
        return [
            f"label {name!r} has no rows in train"
            for name, count in zip(self.names, counts, strict=True)
            if count == 0
        ]

    def _list(self, table: Table, row: int, split: str) -> list[Any]:
        value = table.columns[self._column][row]
        if not isinstance(value, list):
            raise StudyFileError(
                f"label: {self._column} must hold a list of labels; {place(row, split)} has {errors.show(value)}"
            )
        return value


class _Number:
    """A number per row."""

    names: tuple[str, ...] = ()

    def __init__(self, column: str) -> None:
        self._column = column

    def targets(self, table: Table, split: str) -> list[list[float]]:
        found = []
        for row, value in enumerate(table.columns[self._column]):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise StudyFileError(
                    f"label: {self._column} must hold numbers; {place(row, split)} has {errors.show(value)}"
                )
            found.append([float(value)])
        return found

    def classes(self, targets: Sequence[Sequence[float]]) -> list[object]:
        return [0] * len(targets)

    def warnings(self, targets: Sequence[Sequence[float]], few_shot: int | None) -> list[str]:
        return (
            [] if len({target for (target,) in targets}) > 1 else ["all rows of train have the same number"]
        )


def _named(values: Any) -> dict[Label, str]:
    """The name of each value; numbers come before texts, each sorted."""
    ordered = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    return {value: str(value) for value in ordered}


def _label(value: Any, split: str, row: int) -> Label:
    if value is None or value == "":
        raise StudyFileError(f"label: {place(row, split)} has no label")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str | int):
        raise StudyFileError(
            f"label: must be text or whole numbers; {place(row, split)} has {errors.show(value)}"
        )
    return value


def _known(
    value: Label, numbers: Mapping[Label, int], names: Sequence[str], row: int, split: str, train: str
) -> int:
    """The number of a label.

    Raises:
        StudyFileError: train does not have the label.
    """
    if value in numbers:
        return numbers[value]
    advice = "; the labels of this split are not public" if value == -1 else ""
    raise StudyFileError(
        f"label: {place(row, split)} has {errors.show(value)}, which is not a label of {train!r}: "
        f"{', '.join(names)}{advice}"
    )
