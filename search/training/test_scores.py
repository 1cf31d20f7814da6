"""The one reading of the test split: of each method, the chosen finalist's retrained runs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import TrialState

from search.config.study_config import StudyConfig
from search.study import finalists
from search.study.study import Assignment, Key, Study
from search.training import checkpoint
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from search.training.evaluation import overall
from search.training.worker import Job, build, evaluations, load

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
        `test`, the study's objective; `task_scores`; `metrics`, what else the tasks measure; `sha256` of each task's
        split; and `predictions`, columns of one row per task and example: task, row, target, prediction, score (None
        where the metric is no mean).

    Raises:
        CheckpointFolderError: the trial's checkpoint cannot be read, or is not there.
    """
    parsed = Job(**job)
    study = StudyConfig.model_validate_json(parsed.study)
    trial = build(parsed, study, load(parsed.study))
    if not checkpoint.restore(trial, CheckpointFolder(parsed.folder)):
        raise CheckpointFolderError(
            f"{parsed.folder} holds no readable checkpoint, which is needed to score on test: put it back, and launch again"
        )
    resources = load(parsed.study, ("test",))
    found = evaluations(trial, "test", study, resources)
    columns: dict[str, list[Any]] = {name: [] for name in ("task", "row", "target", "prediction", "score")}
    for name, evaluation in found.items():
        count = len(evaluation.predictions)
        columns["task"] += [name] * count
        columns["row"] += range(count)
        columns["target"] += evaluation.targets
        columns["prediction"] += evaluation.predictions
        columns["score"] += evaluation.parts or [None] * count
    scores = {name: evaluation.score for name, evaluation in found.items()}
    return {
        "test": overall(scores, study.search.objective),
        "task_scores": scores,
        "metrics": {name: evaluation.metrics for name, evaluation in found.items()},
        "sha256": {task.name: task.splits["test"].sha256 for task in resources.tasks},
        "predictions": columns,
    }


def predictions_path(config: StudyConfig, key: Key) -> Path:
    """Where the run's predictions on test are."""
    return config.folder / "predictions" / f"{key}.parquet"


def _job(study: Study, key: Key) -> Job:
    facts = study.trial(key).user_attrs
    return Job.of(study.config, Assignment.of(key, facts))
