"""How fast a trained method answers, in its deployed form: a row at a time, and in evaluation batches.

What is written is included, and the query's forward where a method has one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from methods.backbone.backbone import Backbone
from search.tasks import Row, Split, Task
from search.training.evaluation import predict, write
from search.training.trial import Trial

_ROWS = 16
_SECONDS = 20.0
"""A measurement of a large model ends after this long, with what it has."""


def latency(trial: Trial, tasks: Sequence[Task], backbone: Backbone) -> float:
    """Seconds until one row alone is answered: the median of a few, of all tasks in turn.

    Args:
        trial: its method in the form that is to be measured.
        tasks: the study's; rows are those of validation.
        backbone: the frozen one.
    """
    times: list[float] = []
    for turn in range(-1, _ROWS):  # the first warms up
        index = turn % len(tasks)
        rows = _served(tasks[index])
        row = rows[max(turn, 0) // len(tasks) * max(1, len(rows) // _ROWS) % len(rows)]
        spent = _answer(trial, tasks, backbone, index, [row], 1)
        if turn >= 0:
            times.append(spent)
        if len(times) >= 3 and sum(times) > _SECONDS:
            break
    return median(times)


def rows_per_second(trial: Trial, tasks: Sequence[Task], backbone: Backbone, size: int) -> float:
    """Of all tasks, over at most two batches of `size` rows of each; arguments as of `latency`."""
    count, seconds = 0, 0.0
    for index, task in enumerate(tasks):
        rows = _served(task)[: 2 * size]
        count += len(rows)
        seconds += _answer(trial, tasks, backbone, index, rows, size)
    return count / seconds


def _served(task: Task) -> list[Row]:
    """Validation rows as a user would send them, without their targets."""
    split = task.splits["validation"]
    return (task.sources(split) or split).rows


def _answer(
    trial: Trial, tasks: Sequence[Task], backbone: Backbone, index: int, rows: list[Row], size: int
) -> float:
    """Seconds in which a task's rows are answered. They are a split of their own, so that no feature of theirs is known."""
    task = tasks[index]
    writes = task.sources(task.splits["validation"]) is not None
    started = time.perf_counter()
    (write if writes else predict)(trial, index, Split(rows, ""), backbone, size)
    return time.perf_counter() - started
