"""Test scores from result rows, as the statistics take them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dashboards.rows import Finalist, FinalistRun, Rows, finite
from dashboards.statistics.sample import FloatArray, Sample

LARGEST = 1e150
"""A score beyond it has no square, and so no variance."""

Known = tuple[dict[str, float] | None, dict[str, list[float]] | None]
"""Of a run, the score of each task, and of each task the scores per example."""


def tested_sample(rows: Rows, finalist: Finalist) -> Sample | None:
    """The test scores of a finalist's finished runs; None if one has none, or too large a one."""
    runs = [run for run in finalist["runs"] if run["state"] == "COMPLETE"]
    values = [run["test"] for run in runs]
    if not values or not all(finite(value) and abs(value) < LARGEST for value in values):
        return None
    known = [(run["test_task_scores"], run.get("examples")) for run in runs]
    return _sample(rows, np.array(values, dtype=np.float64), known)


def by_worst_task(rows: Rows) -> Rows:
    """The same rows, where a run's test score is that of its lowest task; None where one is not known."""
    found: Rows = {**rows, "objective": {**rows["objective"], "over_tasks": "worst"}, "finalists": []}
    for finalist in rows["finalists"]:
        runs: list[FinalistRun] = []
        for run in finalist["runs"]:
            scores = [(run["test_task_scores"] or {}).get(task["name"]) for task in rows["tasks"]]
            known = [score for score in scores if finite(score)]
            runs.append({**run, "test": min(known) if known and len(known) == len(scores) else None})
        found["finalists"].append({**finalist, "runs": runs})
    return found


def trivial_sample(rows: Rows) -> Sample | None:
    """The test score of the trivial answer, as a sample of one seed; None if there is none."""
    trivial = rows.get("trivial")
    if not trivial or not finite(trivial["test"]):
        return None
    return _sample(rows, np.array([trivial["test"]]), [(trivial["test_task_scores"], trivial["examples"])])


def _sample(rows: Rows, values: FloatArray, known: Sequence[Known]) -> Sample:
    """A sample with scores per example where every run has them."""
    tasks = [task["name"] for task in rows["tasks"]]
    groups = rows.get("test_groups") or {}
    tables = []
    for task in tasks:
        table = [(examples or {}).get(task) or [] for _, examples in known]
        if not table[0] or len({len(row) for row in table}) > 1:
            return Sample(values)
        tables.append(np.array(table, dtype=np.float64))
    weights = None
    if rows["objective"].get("over_tasks") == "worst":
        scores = np.array(
            [[(found or {}).get(task, math.nan) for task in tasks] for found, _ in known], dtype=np.float64
        )
        if not np.isfinite(scores).all():
            return Sample(values)
        weights = np.eye(len(tasks))[scores.argmin(axis=1)]
    if not all(np.isfinite(table).all() for table in tables):
        return Sample(values)
    return Sample.of(tables, values, weights, [groups.get(task) for task in tasks])
