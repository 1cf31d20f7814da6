"""Scores on test by example, as the files in `predictions/` have them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from search.study import finalists
from search.study.finalists import TRIVIAL
from search.study.records import Key, Records

Row = dict[str, Any]


def examples(study: Records, key: Key | str) -> dict[str, list[float]] | None:
    """The value of each test example by task (see `search/metrics/`); None if a metric has none, or the file is gone.

    Args:
        study: the study.
        key: a run that was scored on test, or TRIVIAL.
    """
    path = finalists.predictions_path(study.config, key)
    if not path.exists():
        return None
    table = pd.read_parquet(path, columns=["task", "row", "score"])
    if table["score"].isna().any():
        return None
    ordered = table.sort_values(["task", "row"])
    return {str(task): list(group["score"]) for task, group in ordered.groupby("task")}


def of_study(study: Records) -> Row:
    """What the result rows say of the test split as a whole: `test_groups` and `trivial`."""
    return {"test_groups": _groups(study), "trivial": _trivial(study)}


def _groups(study: Records) -> dict[str, list[int] | None]:
    """The group of each test example by task, None for a task without groups; empty if nothing was scored."""
    keys: list[Key | str] = [TRIVIAL, *study.facts_of_trials(finalists.TEST)]
    for path in (finalists.predictions_path(study.config, key) for key in keys):
        if path.exists():
            table = pd.read_parquet(path)
            if "group" not in table:  # a study of an earlier version
                table["group"] = None
            ordered = table.sort_values(["task", "row"])
            return {str(task): _numbers(each["group"]) for task, each in ordered.groupby("task")}
    return {}


def _numbers(groups: pd.Series[Any]) -> list[int] | None:
    return None if groups.isna().any() else [int(number) for number in groups]


def _trivial(study: Records) -> Row | None:
    """The scores of answers that need no model; None if there are none."""
    found = study.fact_of_study(TRIVIAL)
    if not found:
        return None
    return {
        "test": found["test"],
        "test_task_scores": found["task_scores"],
        "examples": examples(study, TRIVIAL),
        "answers": found["answers"],
    }
