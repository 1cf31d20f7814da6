"""Measures how fast a trained method answers: one row at a time, and in batches.

The time includes writing a text, and the query's forward if a method has one.
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
"""Seconds after which a measurement of a large model stops early."""


def latency(trial: Trial, tasks: Sequence[Task], backbone: Backbone) -> float:
    """Measures the seconds to answer a single row: the median over some rows of all tasks in turn.

    Args:
        trial: the trial, its method in the form to be measured.
        tasks: the study's tasks; their validation rows are used.
        backbone: the frozen backbone.
    """
    times: list[float] = []
    for turn in range(-1, _ROWS):  # the first turn is a warm-up
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
    """Measures the rows answered per second, over at most two batches of `size` rows per task; see `latency`."""
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
    """Measures the seconds to answer rows of a task. They form a new split, so that no cached features are used."""
    task = tasks[index]
    writes = task.sources(task.splits["validation"]) is not None
    started = time.perf_counter()
    (write if writes else predict)(trial, index, Split(rows, ""), backbone, size)
    return time.perf_counter() - started
