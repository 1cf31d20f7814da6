"""The one reading of the test split: of each method, the chosen finalist's retrained runs, and nothing else."""

from __future__ import annotations

from typing import Any

from search.job import Job
from search.training import checkpoint
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from search.training.evaluation import overall
from search.training.worker import build, evaluate_tasks, load, study_config

Reading = dict[str, Any]


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
    study = study_config(parsed.study)
    trial = build(parsed, load(parsed.study))
    if not checkpoint.restore(trial, CheckpointFolder(parsed.folder)):
        raise CheckpointFolderError(
            f"{parsed.folder} holds no readable checkpoint, which is needed to score on test: put it back, and launch again"
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
        columns["score"] += evaluation.parts or [None] * count
    scores = {name: evaluation.score for name, evaluation in found.items()}
    return {
        "test": overall(scores, study.search.objective),
        "task_scores": scores,
        "metrics": {name: evaluation.metrics for name, evaluation in found.items()},
        "sha256": {task.name: task.splits["test"].sha256 for task in resources.tasks},
        "predictions": columns,
    }
