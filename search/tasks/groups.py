"""Groups of examples that belong together: several rows of one user, the sentences of an article, questions on one text.

Examples of a group are alike, so ten of them say less than ten of different groups, and a group that is in train too is
easier than a new one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search import errors
from search.config.task_config import TaskConfig
from search.errors import StudyFileError
from search.tasks.sources import Table
from search.tasks.splits import place


def named(config: TaskConfig, table: Table, split: str, numbers: Sequence[int]) -> list[str | None]:
    """The group of each row, from the column `group`; None for each if the study file names no column.

    Args:
        config: the task's section.
        table: the whole split.
        split: the split's name, for messages.
        numbers: the numbers of the rows.

    Raises:
        StudyFileError: a row has no group, or one that is neither text nor a number.
    """
    if config.group is None:
        return [None] * len(numbers)
    column = table.columns[config.group]
    return [_name(column[number], config.group, place(number, split)) for number in numbers]


def numbered(groups: Sequence[str | None]) -> list[int] | None:
    """The number of each example's group, in the order of first appearance; None if there are no groups."""
    if None in groups:
        return None
    numbers: dict[str | None, int] = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]


def shared(
    groups: Mapping[str, Sequence[str | None]], train: Sequence[str | None], what: str = "groups"
) -> list[str]:
    """Warnings for splits that share groups with train; `what` is the users' word for them."""
    trained = set(train) - {None}
    found = []
    for split, mine in groups.items():
        same = trained.intersection(mine)
        if split != "train" and same:
            found.append(
                f"{len(same)} of {len(set(mine))} {what} of {split} are in train too: their scores may be too good"
            )
    return found


def _name(value: Any, column: str, where: str) -> str:
    """A group's name, by which it is the same in every split, whether read as a number or as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip():
        raise StudyFileError(
            f"group: {where} has no value in {column!r}; give each row its group, or leave group out"
        )
    if not isinstance(value, str | int | float):
        raise StudyFileError(f"group: {column} must hold text or numbers; {where} has {errors.show(value)}")
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)
