"""Scores runs on the test split: only the retrained runs of each method's chosen finalist, and only once.

An answer that needs no model is scored too, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from methods.backbone.backbone import Backbone
from methods.backbone.shape import Architecture
from search.config.study_config import StudyConfig
from search.job import Job
from search.tasks import Evaluation, Split, Task
from search.training import checkpoint, model_files
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from search.training.evaluation import overall
from search.training.worker import build, evaluate_tasks, load, load_tasks, study_config

Reading = dict[str, Any]


def score(job: dict[str, Any]) -> Reading:
    """Scores a finished trial on test; called in a worker.

    Returns:
        `test`, the study's objective; `task_scores`; `metrics`, the tasks' other measurements; `sha256` of each task's
        split; and `predictions`, columns with one row per task and example: task, row, group (the number of the
        example's group; None if it stands alone), target, prediction, score (the example's pseudo-value, see
        `search/metrics/`; None if a metric of another package has none).

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
    return _reading(study, resources.tasks, found)


def trivial(study: str) -> Reading | None:
    """Scores on test an answer that needs no model, such as each task's most frequent label; no trial is needed.

    Args:
        study: the study's configuration as JSON.

    Returns:
        What `score` returns, and `answers`: what the answer of each task is, such as "always 'food'". None if a task
        has no such answer, or no test split.
    """
    config = study_config(study)
    if any(task.data.test_split is None for task in config.tasks):
        return None
    loaded = load_tasks(config, ("train", "test"), _architecture(config))
    found = {task.name: task.trivial(task.splits["train"], task.splits["test"]) for task in loaded}
    there = {name: each for name, each in found.items() if each is not None}
    if len(there) < len(found):
        return None
    reading = _reading(config, loaded, {name: each.evaluation for name, each in there.items()})
    return {**reading, "answers": {name: each.answer for name, each in there.items()}}


def _architecture(config: StudyConfig) -> Architecture:
    """The model's architecture, without its weights."""
    model = config.model
    return Backbone.without_weights(
        model_files.locate(model),
        trust_remote_code=model.trust_remote_code,
        language_model=config.language_model,
    ).shape.architecture


def _reading(study: StudyConfig, tasks: Sequence[Task], found: Mapping[str, Evaluation]) -> Reading:
    splits = {task.name: task.splits["test"] for task in tasks}
    scores = {name: evaluation.score for name, evaluation in found.items()}
    return {
        "test": overall(scores, study.search.objective),
        "task_scores": scores,
        "metrics": {name: evaluation.metrics for name, evaluation in found.items()},
        "sha256": {name: split.sha256 for name, split in splits.items()},
        "predictions": _columns(found, splits),
    }


def _columns(found: Mapping[str, Evaluation], splits: Mapping[str, Split]) -> dict[str, list[Any]]:
    """The predictions as columns, one row per task and example."""
    names = ("task", "row", "group", "target", "prediction", "score")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for name, evaluation in found.items():
        count = len(evaluation.predictions)
        columns["task"] += [name] * count
        columns["row"] += range(count)
        columns["group"] += [*(splits[name].groups or []), *[None] * count][:count]
        columns["target"] += evaluation.targets
        columns["prediction"] += evaluation.predictions
        columns["score"] += evaluation.examples or [None] * count
    return columns
