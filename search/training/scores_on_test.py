"""Scores runs on the test split: only the retrained runs of each method's chosen finalist, and only once."""

from __future__ import annotations

from typing import Any

from search.job import Job
from search.training import checkpoint
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from search.training.evaluation import overall
from search.training.worker import build, evaluate_tasks, load, study_config

Reading = dict[str, Any]


def score(job: dict[str, Any]) -> Reading:
    """Scores a finished trial on test; called in a worker.

    Returns:
        `test`, the study's objective; `task_scores`; `metrics`, the tasks' other measurements; `sha256` of each task's
        split; and `predictions`, columns with one row per task and example: task, row, target, prediction, score (None
        if the metric is no mean over examples).

    Raises:
        CheckpointFolderError: the trial's checkpoint is missing or cannot be read.
    """
    parsed = Job(**job)
    study = study_config(parsed.study)
    trial = build(parsed, load(parsed.study))
    if not checkpoint.restore(trial, CheckpointFolder(parsed.folder)):
        raise CheckpointFolderError(
            f"{parsed.folder} has no readable checkpoint, which is needed to score on test: restore it and launch again"
        )
    resources = load(parsed.study, ("test",))
    found = evaluate_tasks(trial, "test", study, resources)
    columns: dict[str, list[Any]] = {name: [] for name in ("task", "row", "target", "prediction", "score")}
    for name, evaluation in found.items():
        count = len(evaluation.predictions)
        columns["task"] += [name] * count
        columns["row"] += range(count)
        columns["target"] += evaluation.targets
        columns["prediction"] += evaluation.predictions
        columns["score"] += evaluation.examples or [None] * count
    scores = {name: evaluation.score for name, evaluation in found.items()}
    return {
        "test": overall(scores, study.search.objective),
        "task_scores": scores,
        "metrics": {name: evaluation.metrics for name, evaluation in found.items()},
        "sha256": {task.name: task.splits["test"].sha256 for task in resources.tasks},
        "predictions": columns,
    }
