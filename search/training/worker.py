"""What a worker process loads and keeps, the frozen model and the tokenized data, so that later trials start at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import torch

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.shape import Architecture
from search import tasks
from search.config.study_config import ModelConfig, StudyConfig
from search.job import Job, Report
from search.tasks import Evaluation, Task
from search.training import model_files
from search.training.evaluation import evaluate, overall, standard_error
from search.training.out_of_memory import with_fewer
from search.training.trial import DivergedError, Trial


class Resources(NamedTuple):
    """What a worker process keeps between trials.

    `trivial` has what answers that need no model score on validation, by task; None if one has none, or validation was not read.
    """

    backbone: Backbone
    tasks: tuple[Task, ...]
    trivial: dict[str, float] | None


def build(job: Job, resources: Resources) -> Trial:
    """Builds the job's trial, ready to start."""
    study, module = study_config(job.study), methods.get(job.method)
    return Trial(
        module.Method,
        module.Config(**job.config),
        resources.backbone,
        resources.tasks,
        [job.loss_weights[task.name] for task in study.tasks],
        study.training,
        job.seed,
    )


@functools.lru_cache(maxsize=2)
def study_config(study: str) -> StudyConfig:
    """Parses a study's configuration from JSON, once in a process."""
    return StudyConfig.model_validate_json(study)


@functools.lru_cache(maxsize=2)
def load(study: str, splits: tuple[str, ...] = ("train", "validation")) -> Resources:
    """Loads the frozen model and the tokenized tasks of a study, given as JSON."""
    config = study_config(study)
    backbone = load_backbone(config.model, config.language_model)
    loaded = load_tasks(config, splits, backbone.shape.architecture)
    return Resources(backbone, loaded, _trivial(loaded) if "validation" in splits else None)


def _trivial(loaded: Sequence[Task]) -> dict[str, float] | None:
    found = {task.name: task.trivial(task.splits["train"], task.splits["validation"]) for task in loaded}
    known = {name: each.evaluation.score for name, each in found.items() if each is not None}
    return known if len(known) == len(found) else None


def load_tasks(config: StudyConfig, splits: Sequence[str], architecture: Architecture) -> tuple[Task, ...]:
    """Loads the tokenized tasks of a study for a model of this architecture."""
    path = model_files.locate(config.model)
    tokenizer = model_files.tokenizer(path, config.model.trust_remote_code)
    return tuple(
        tasks.load(task, tokenizer, config.model.max_length, config.seed, splits, architecture)
        for task in config.tasks
    )


@functools.lru_cache(maxsize=1)
def load_backbone(model: ModelConfig, language_model: bool = False) -> Backbone:
    """Loads the frozen model, onto the GPU if this process has one."""
    return Backbone.load(
        model_files.locate(model),
        dtype=getattr(torch, model.dtype),
        device="cuda" if torch.cuda.is_available() else "cpu",
        trust_remote_code=model.trust_remote_code,
        language_model=language_model,
    )


def evaluate_tasks(
    trial: Trial, split: str, study: StudyConfig, resources: Resources
) -> dict[str, Evaluation]:
    """Evaluates each task on "validation" or "test"; returns the evaluations by the tasks' names."""
    return with_fewer(
        study.training.per_device_eval_batch_size,
        lambda size: {
            task.name: evaluate(trial, index, task.splits[split], resources.backbone, size)
            for index, task in enumerate(resources.tasks)
        },
    )


def scored(trial: Trial, loss: float | None, study: StudyConfig, resources: Resources) -> Report:
    """Evaluates a trial on validation: its scores and what they stand beside, without the costs.

    Raises:
        DivergedError: the score is not finite.
    """
    found = evaluate_tasks(trial, "validation", study, resources)
    scores = {name: evaluation.score for name, evaluation in found.items()}
    score = overall(scores, study.search.objective)
    if not math.isfinite(score):
        raise DivergedError(f"the validation score is {score} at step {trial.step}")
    metrics = {
        f"{name}_{metric}": value for name, each in found.items() for metric, value in each.metrics.items()
    }
    trivial = resources.trivial
    return Report(
        step=trial.step,
        validation=score,
        standard_error=standard_error(found, study.search.objective),
        trivial=None if trivial is None else overall(trivial, study.search.objective),
        loss=loss,
        task_scores=scores,
        metrics={**metrics, **trial.method.metrics()},
        seconds=trial.seconds,
        **asdict(trial.counts),
    )
