"""The one reading of the test split: of each method, the chosen finalist's retrained runs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
from optuna.trial import TrialState

from search import checkpoint, finalists
from search.config import StudyConfig
from search.study import Assignment, Key, Study
from search.trial import Job, build, load, logits

TEST = "test"
"""Name of the late fact that holds a finalist's test scores."""

Reading = dict[str, Any]


def unread(study: Study) -> list[Key]:
    """Finalists' runs that are to be scored on test and have not been."""
    if any(task.data.test_split is None for task in study.config.tasks):
        return []
    done = study.late_facts(TEST)
    return [key for key in chosen(study) if key not in done]


def chosen(study: Study) -> Iterator[Key]:
    """The completed runs of each method's chosen finalist."""
    for method in study.config.methods:
        number = finalists.choose(study, method)
        if number is not None:
            for trial in finalists.runs(study, method)[number]:
                if trial.state == TrialState.COMPLETE:
                    yield Key(method, "finalists", trial.number)


def read(study: Study, score_all: Callable[[list[dict[str, Any]]], Iterator[tuple[int, Reading]]]) -> None:
    """Scores the unread runs and records the reading.

    Args:
        study: with all its finalists ended.
        score_all: runs `score` for each job, and yields (index of the job, its reading) as they end.
    """
    keys = unread(study)
    if not keys:
        return
    study.count_reading()
    jobs = [_job(study, key).to_dict() for key in keys]
    for index, reading in score_all(jobs):
        key = keys[index]
        table = pd.DataFrame(reading.pop("predictions"))
        path = predictions_path(study.config, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path)
        study.record_late(key, TEST, reading)


def score(job: dict[str, Any]) -> Reading:
    """In a worker: the finished trial's scores on test.

    Returns:
        `test`, the mean over tasks; `task_scores`; `sha256` of each task's split; and `predictions`, columns of
        one row per task and example: task, row, target, prediction, score (None where the metric is no mean).
    """
    parsed = Job(**job)
    study = StudyConfig.model_validate_json(parsed.study)
    trial = build(parsed, study, load(parsed.study))
    if not checkpoint.restore(trial, Path(parsed.folder)):
        raise FileNotFoundError(
            f"{parsed.folder} holds no readable checkpoint; it is needed to score on test"
        )
    resources = load(parsed.study, ("test",))
    scores: dict[str, float] = {}
    columns: dict[str, list[Any]] = {name: [] for name in ("task", "row", "target", "prediction", "score")}
    for index, task in enumerate(resources.tasks):
        split = task.splits["test"]
        output = logits(trial, index, split, study, resources)
        scores[task.name], parts = task.score(output, split.targets)
        columns["task"] += [task.name] * len(split)
        columns["row"] += range(len(split))
        columns["target"] += [task.answer(targets) for targets in split.targets]
        columns["prediction"] += [task.answer(each.argmax(1).tolist()) for each in output]
        columns["score"] += parts or [None] * len(split)
    return {
        "test": mean(scores.values()),
        "task_scores": scores,
        "sha256": {task.name: task.splits["test"].sha256 for task in resources.tasks},
        "predictions": columns,
    }


def predictions_path(config: StudyConfig, key: Key) -> Path:
    """Where the run's predictions on test are."""
    return config.folder / "predictions" / f"{key}.parquet"


def _job(study: Study, key: Key) -> Job:
    facts = study.trial(key).user_attrs
    return Job.of(study.config, Assignment(key, facts["config"], facts["seed"]))
