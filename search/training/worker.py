"""Trains one trial in a worker process.

The process keeps the frozen model and the tokenized data, so later trials start at once. A trial reports every
evaluation and writes only its checkpoints.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any, NamedTuple

import torch

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.shape import Architecture
from search import tasks
from search.config.study_config import ModelConfig, StudyConfig
from search.job import Job, Report
from search.tasks import Evaluation, Task
from search.training import checkpoint, latency, model_files
from search.training.checkpoint_folder import CheckpointFolder
from search.training.evaluation import evaluate, overall, standard_error
from search.training.out_of_memory import out_of_memory, with_fewer
from search.training.peak_memory import PeakMemory
from search.training.steps.pack import Pack
from search.training.trial import DivergedError, Trial


class Resources(NamedTuple):
    """What a worker process keeps between trials.

    `trivial` has what answers that need no model score on validation, by task; None if one has none, or validation was not read.
    """

    backbone: Backbone
    tasks: tuple[Task, ...]
    trivial: dict[str, float] | None


def train(job: Job, report: Callable[[Report], Any]) -> Trial:
    """Trains a trial to its end, from its checkpoint if there is one.

    Args:
        job: the trial to train.
        report: called at every evaluation, after the checkpoint was written.

    Raises:
        DivergedError: the loss or the gradient is not finite.
        CheckpointFolderError: its checkpoints cannot be written or read.
    """
    study = study_config(job.study)
    resources = load(job.study)
    memory = PeakMemory(resources.backbone.device)
    trial = build(job, resources)
    folder = CheckpointFolder(job.folder)
    pack = Pack()
    pack.attach(trial)
    restored = checkpoint.restore(trial, folder)
    if restored is not None and restored.report is not None:
        # Report it again: the last process may have ended before the driver received it.
        report(dataclasses.replace(restored.report, checkpoint=restored.path, resumed=True))
    elif not trial.parameters or trial.done:  # nothing to train: a frozen model that writes
        trial.step = study.training.max_steps
        found = _evaluate(trial, study, resources, loss=None)
        found = dataclasses.replace(found, latency_seconds=_latency(trial, study, resources))
        report(dataclasses.replace(found, checkpoint=checkpoint.save(trial, folder, found)))
    losses: list[float] = []
    started = time.perf_counter()
    while not trial.done:
        loss = _step(pack, trial)
        if isinstance(loss, DivergedError):
            raise loss
        losses.append(loss)
        if trial.step % study.training.eval_steps == 0 or trial.done:
            step_seconds = (time.perf_counter() - started) / len(losses)
            found = _evaluate(trial, study, resources, mean(losses))
            trial.seconds += time.perf_counter() - started
            losses, started = [], time.perf_counter()
            if pack.gradient_accumulation_steps > 1:
                accumulated = {"gradient_accumulation_steps": float(pack.gradient_accumulation_steps)}
                found = dataclasses.replace(found, metrics=found.metrics | accumulated)
            found = dataclasses.replace(
                found,
                seconds=trial.seconds,
                step_seconds=step_seconds,
                peak_memory_bytes=memory.bytes(),
                latency_seconds=_latency(trial, study, resources),
            )
            report(dataclasses.replace(found, checkpoint=checkpoint.save(trial, folder, found)))
    return trial


def _step(pack: Pack, trial: Trial) -> float | DivergedError:
    """Takes a step of the only trial; if memory runs out, repeats it with fewer rows at once."""
    while True:
        drawn = trial.generator.get_state()
        try:
            (loss,) = pack.step()
            return loss
        except RuntimeError as error:
            if not out_of_memory(error) or not pack.halve():
                raise
        trial.generator.set_state(drawn)
        pack.forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


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


def _evaluate(trial: Trial, study: StudyConfig, resources: Resources, loss: float | None) -> Report:
    found = evaluate_tasks(trial, "validation", study, resources)
    scores = {name: evaluation.score for name, evaluation in found.items()}
    score = overall(scores, study.search.objective)
    if not math.isfinite(score):
        raise DivergedError(f"the validation score is {score} at step {trial.step}")
    metrics = {
        f"{name}_{metric}": value for name, each in found.items() for metric, value in each.metrics.items()
    }
    return Report(
        step=trial.step,
        validation=score,
        standard_error=standard_error(found, study.search.objective),
        trivial=overall(resources.trivial, study.search.objective) if resources.trivial else None,
        loss=loss,
        task_scores=scores,
        metrics={**metrics, **trial.method.metrics()},
        seconds=trial.seconds,
        **asdict(trial.counts),
    )


def _latency(trial: Trial, study: StudyConfig, resources: Resources) -> float | None:
    """Measures the latency at the end of a trial if it is an objective; does not change the trial."""
    if not trial.done or "latency_seconds" not in study.search.measured_costs:
        return None
    trained = trial.method
    try:
        with torch.no_grad():
            trial.method = trained.deployed(trial.backbone)
        return latency.latency(trial, resources.tasks, resources.backbone)
    finally:
        trial.method = trained
