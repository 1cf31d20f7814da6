"""Splits of a task: finds them, draws the rows that are used, and reads their texts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from search import errors
from search.config.task_config import TaskConfig
from search.config.values import template_columns
from search.errors import StudyFileError
from search.seeds import derive
from search.tasks import sources
from search.tasks.sources import Table


class Splits:
    """A task's splits in the data.

    Args:
        config: the task's section.
        columns: the columns to read, each with the setting that names it; that of `group` is added.
        seed: the study's seed, from which rows are drawn.

    Attributes:
        train: the training table, read at once since it has the labels.
    """

    def __init__(self, config: TaskConfig, columns: Mapping[str, str], seed: int) -> None:
        self._config = config
        self._columns = _with_group(config, columns)
        self._seed = seed
        self._source = sources.open_source(config.data)
        self.train = self._read("train")

    def name(self, split: str) -> str:
        """The split's name in the data."""
        return split_name(self._config, split)[0]

    def table(self, split: str) -> Table:
        """All rows of "train", "validation" (those of train if it is cut from train) or "test"."""
        return self.train if self.name(split) == self._config.data.train_split else self._read(split)

    def draw(
        self, split: str, count: int, classes: Sequence[object] | None = None, few_shot: int | None = None
    ) -> list[int]:
        """Draws the numbers of the rows that are used; validation is cut from train if it has no split.

        Args:
            split: "train", "validation" or "test".
            count: the number of rows in its table.
            classes: each row's class, by which rows are drawn evenly.
            few_shot: how many rows of each class train uses.

        Raises:
            StudyFileError: no rows are left.
        """
        config, seed = self._config, self._seed
        classes = [0] * count if classes is None else classes
        order = seeded_order(count, seed, config.name, split)
        if config.data.validation_split is None and split != "test":
            whole = seeded_order(count, seed, config.name, "cut")
            train, validation = cut(whole, classes, config.data.validation_fraction)
            mine = set(train if split == "train" else validation)
            order = [row for row in order if row in mine]
        per_class = few_shot if split == "train" else None
        numbers = take(order, classes, per_class, getattr(config, f"max_{split}_samples"))
        if not numbers:
            raise StudyFileError(
                f"data.validation_fraction: leaves no rows for {split}; the data have {count} rows"
            )
        return numbers

    def _read(self, split: str) -> Table:
        name, field = split_name(self._config, split)
        return self._source.read(name, self._columns, field)


def count_rows(config: TaskConfig, split: str, columns: Mapping[str, str]) -> int:
    """Counts the rows of a split in the data; `columns` are those of `Splits`.

    Raises:
        StudyFileError: there is no such split or column, or the split is empty.
    """
    name, field = split_name(config, split)
    return sources.open_source(config.data).count(name, _with_group(config, columns), field)


def split_name(config: TaskConfig, split: str) -> tuple[str, str]:
    """The split's name in the data, and the setting that gives it.

    Raises:
        StudyFileError: there is no test split.
    """
    field = f"{split}_split"
    if split == "validation" and config.data.validation_split is None:
        field = "train_split"
    name = getattr(config.data, field)
    if name is None:
        raise StudyFileError("data.test_split: must name a split to score finalists on; it is null")
    return name, f"data.{field}"


def _with_group(config: TaskConfig, columns: Mapping[str, str]) -> dict[str, str]:
    return {**({} if config.group is None else {config.group: "group"}), **columns}


def place(row: int, split: str) -> str:
    """A row's name in messages."""
    return f"row {row} of {split!r} (the first is 0)"


def texts(template: str, table: Table, field: str, split: str, numbers: Sequence[int]) -> list[str]:
    """The text of each row, from a column or a template of columns.

    Args:
        template: a column's name or a template; see `template_columns`.
        table: the whole split.
        field: the setting that holds the template, for messages.
        split: the split's name, for messages.
        numbers: the numbers of the rows.

    Raises:
        StudyFileError: a column holds no text, or the text is empty.
    """
    names = template_columns(template)
    made = []
    for number in numbers:
        values: dict[str, Any] = {name: table.columns[name][number] for name in names}
        wrong = [name for name, value in values.items() if not isinstance(value, str | int | float | None)]
        if wrong:
            raise StudyFileError(
                f"{field}: {wrong[0]} must hold text; {place(number, split)} has {errors.show(values[wrong[0]])}"
            )
        empty = [name for name, value in values.items() if value is None]
        text = str(values[template]) if template in values else template.format_map(values)
        if empty or not text.strip():
            raise StudyFileError(
                f"{field}: {place(number, split)} has no text in {' and '.join(empty or names)}; remove rows without text"
            )
        made.append(text)
    return made


def repeated(rows: Mapping[str, Sequence[Hashable]], train: Sequence[Hashable]) -> list[str]:
    """Warnings for splits that share rows with train."""
    trained = set(train)
    found = []
    for split, mine in rows.items():
        same = sum(row in trained for row in mine)
        if split != "train" and same:
            found.append(f"{same} of {len(mine)} rows of {split} are in train too")
    return found


def seeded_order(count: int, seed: int, *names: str) -> list[int]:
    """The numbers 0 to count-1 in an order that depends on the seed and the names.

    Numbers are sorted by a hash, not shuffled by a random generator, so the order is the same in every version of every
    library.
    """
    key = derive(seed, *names)
    return sorted(range(count), key=lambda number: hashlib.sha256(f"{key}/{number}".encode()).digest())


def take(
    order: Sequence[int], classes: Sequence[object], per_class: int | None, at_most: int | None
) -> list[int]:
    """The first rows of an order, sorted: `per_class` of each class, then `at_most` in all; None takes all."""
    kept: list[int] = []
    counts: dict[object, int] = defaultdict(int)
    for row in order:
        counts[classes[row]] += 1
        if per_class is None or counts[classes[row]] <= per_class:
            kept.append(row)
    return sorted(kept[:at_most])


def cut(order: Sequence[int], classes: Sequence[object], fraction: float) -> tuple[list[int], list[int]]:
    """Cuts the same fraction off each class, at least one of two rows; returns (kept, cut off), both sorted."""
    of_class: dict[object, list[int]] = defaultdict(list)
    for row in order:
        of_class[classes[row]].append(row)
    off: set[int] = set()
    for rows in of_class.values():
        count = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        off.update(rows[:count])
    return [row for row in range(len(order)) if row not in off], sorted(off)
