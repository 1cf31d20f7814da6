"""One trial in a worker process: what Ray Tune calls.

The frozen model and the tokenized data are cached in the process, so a trial after the first (Tune reuses its
actors) starts at once. A trial reports every evaluation, always with the same keys; if it cannot go on, it
reports why. It writes nothing but its checkpoints.
"""

from __future__ import annotations

import functools
import json
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, NamedTuple

import torch
from ray import tune

import methods
from methods.backbone.backbone import Backbone
from search import tasks
from search.config import places
from search.config.study_config import ModelConfig, StudyConfig
from search.config.values import Scalar
from search.study.study import Assignment
from search.tasks import Evaluation, Task
from search.training import checkpoint, latency, model_files
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from search.training.evaluation import evaluate, overall
from search.training.pack import Pack
from search.training.peak_memory import Peak
from search.training.trial import DivergedError, Trial

Report = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """All a worker needs, as plain values: Tune keeps them as the trial's config.

    Attributes:
        study: the study's configuration as JSON.
        method, stage, number: the trial's key.
        config: the method's hyperparameters.
        loss_weights: each task's share of the loss.
        seed: of the trial.
        folder: for its checkpoints, an absolute path or a URI.
    """

    study: str
    method: str
    stage: str
    number: int
    config: dict[str, Scalar]
    loss_weights: dict[str, float]
    seed: int
    folder: str

    @classmethod
    def of(cls, config: StudyConfig, assignment: Assignment) -> Job:
        """The job of an assignment."""
        key = assignment.key
        return cls(
            study=config.model_dump_json(),
            method=key.method,
            stage=key.stage,
            number=key.number,
            config=assignment.config,
            loss_weights=assignment.loss_weights,
            seed=assignment.seed,
            folder=places.checkpoint_place(config, str(key)),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Resources(NamedTuple):
    """What a process keeps between trials."""

    backbone: Backbone
    tasks: tuple[Task, ...]


def run(job: dict[str, Any]) -> None:
    """Trains and scores one trial, reporting to Tune.

    An error is reported, with its traceback, rather than raised: Tune would start the trial anew, as it
    should when a process or a node is lost, and must not when the configuration itself is the cause.
    """
    try:
        train(Job(**job), tune.report)
    except DivergedError as error:
        tune.report(_failure(f"diverged: {error}"))
    except CheckpointFolderError as error:
        tune.report(_failure(str(error), stops_study=True))
    except Exception as error:
        if out_of_memory(error):
            tune.report(_failure(f"out of memory, even with one row at a time: {error}"))
        else:
            tune.report(_failure(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"))


def train(job: Job, report: Callable[[Report], Any]) -> Trial:
    """Trains a trial to its end, going on from its checkpoint where there is one.

    Args:
        job: what to train.
        report: called at every evaluation, after the checkpoint was written.

    Raises:
        DivergedError: loss or gradient is not finite.
        CheckpointFolderError: its checkpoints cannot be written or read.
    """
    study = StudyConfig.model_validate_json(job.study)
    resources = load(job.study)
    memory = Peak(resources.backbone.device)
    trial = build(job, study, resources)
    folder = CheckpointFolder(job.folder)
    pack = Pack()
    pack.attach(trial)
    restored = checkpoint.restore(trial, folder)
    if (
        restored is not None and restored.report is not None
    ):  # again: the process may have ended before it was heard
        report({**restored.report, "checkpoint": restored.path, "resumed": True})
    elif not trial.parameters or trial.done:  # a frozen model that writes, as it is
        trial.step = study.training.max_steps
        evaluation = _evaluate(trial, study, resources, loss=None)
        evaluation["latency_seconds"] = _latency(trial, study, resources)
        path = checkpoint.save(trial, folder, evaluation)
        report({**evaluation, "checkpoint": path})
    losses: list[float] = []
    started = time.perf_counter()
    while not trial.done:
        loss = _step(pack, trial)
        if isinstance(loss, DivergedError):
            raise loss
        losses.append(loss)
        if trial.step % study.training.eval_steps == 0 or trial.done:
            step_seconds = (time.perf_counter() - started) / len(losses)
            evaluation = _evaluate(trial, study, resources, mean(losses))
            trial.seconds += time.perf_counter() - started
            losses, started = [], time.perf_counter()
            if pack.gradient_accumulation_steps > 1:
                accumulated = {"gradient_accumulation_steps": pack.gradient_accumulation_steps}
                evaluation["metrics"] = json.dumps(json.loads(evaluation["metrics"]) | accumulated)
            costs: Report = {"step_seconds": step_seconds, "peak_memory_bytes": memory.bytes()}
            costs["latency_seconds"] = _latency(trial, study, resources)
            evaluation |= {**costs, "seconds": trial.seconds}
            path = checkpoint.save(trial, folder, evaluation)
            report({**evaluation, "checkpoint": path})
    return trial


def _step(pack: Pack, trial: Trial) -> float | DivergedError:
    """A step of the only trial; where memory does not suffice, the same one with fewer rows at once."""
    while True:
        drawn = trial.generator.get_state()
        try:
            (loss,) = pack.step()
            return loss
        except RuntimeError as error:
            if not out_of_memory(error) or not pack.halve():
                raise
        trial.generator.set_state(drawn)
        trial.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch could not have the memory that it asked for; oneDNN, on CPUs, does not say what it was short of."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "can't allocate memory" in str(error)
        or str(error) == "could not create a primitive"
    )


def build(job: Job, study: StudyConfig, resources: Resources) -> Trial:
    """The job's trial, at its start."""
    module = methods.get(job.method)
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
def load(study: str, splits: tuple[str, ...] = ("train", "validation")) -> Resources:
    """The frozen model and the tokenized tasks of a study (its configuration as JSON)."""
    config = StudyConfig.model_validate_json(study)
    path = model_files.locate(config.model)
    tokenizer = model_files.tokenizer(path, config.model.trust_remote_code)
    backbone = load_backbone(config.model.model_dump_json(), config.language_model)
    architecture = backbone.shape.architecture
    loaded = tuple(
        tasks.load(task, tokenizer, config.model.max_length, config.seed, splits, architecture)
        for task in config.tasks
    )
    return Resources(backbone, loaded)


@functools.lru_cache(maxsize=1)
def load_backbone(model: str, language_model: bool = False) -> Backbone:
    """The frozen model (its section of the study as JSON), on the GPU where this process has one."""
    section = ModelConfig.model_validate_json(model)
    return Backbone.load(
        model_files.locate(section),
        dtype=getattr(torch, section.dtype),
        device="cuda" if torch.cuda.is_available() else "cpu",
        trust_remote_code=section.trust_remote_code,
        language_model=language_model,
    )


def evaluations(trial: Trial, split: str, study: StudyConfig, resources: Resources) -> dict[str, Evaluation]:
    """Each task's evaluation on "validation" or "test", by its name."""
    size = study.training.per_device_eval_batch_size
    while True:
        try:
            return {
                task.name: evaluate(trial, index, task.splits[split], resources.backbone, size)
                for index, task in enumerate(resources.tasks)
            }
        except RuntimeError as error:
            if not out_of_memory(error) or size == 1:
                raise
        size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _evaluate(trial: Trial, study: StudyConfig, resources: Resources, loss: float | None) -> Report:
    found = evaluations(trial, "validation", study, resources)
    scores = {name: evaluation.score for name, evaluation in found.items()}
    score = overall(scores, study.search.objective)
    if not math.isfinite(score):
        raise DivergedError(f"the validation score is {score} at step {trial.step}")
    metrics = {
        f"{name}_{metric}": value for name, each in found.items() for metric, value in each.metrics.items()
    }
    return {
        "step": trial.step,
        "validation": score,
        "task_scores": json.dumps(scores),  # Tune flattens what is nested
        "metrics": json.dumps({**metrics, **trial.method.metrics()}),
        "loss": loss,
        "seconds": trial.seconds,
        "step_seconds": None,
        "peak_memory_bytes": None,
        "latency_seconds": None,
        "checkpoint": None,
        "resumed": False,
        "stops_study": False,
        "error": None,
        **asdict(trial.counts),
    }


def _latency(trial: Trial, study: StudyConfig, resources: Resources) -> float | None:
    """Seconds of an answer, of a trial at its end, where that is an objective; the trial stays as it is."""
    if not trial.done or "latency_seconds" not in study.search.measured_costs:
        return None
    trained = trial.method
    try:
        with torch.no_grad():
            trial.method = trained.deployed(trial.backbone)
        return latency.latency(trial, resources.tasks, resources.backbone)
    finally:
        trial.method = trained


def _failure(error: str, stops_study: bool = False) -> Report:
    """A report of a trial that cannot go on; the keys are those of an evaluation, or Tune would stop.

    Args:
        error: why.
        stops_study: the next trial would meet the same, and this one can go on later.
    """
    keys = ("step", "validation", "task_scores", "metrics", "loss", "seconds", "checkpoint")
    costs = (
        "step_seconds",
        "peak_memory_bytes",
        "latency_seconds",
        "trained_parameters",
        "deployed_parameters",
        "head_parameters",
    )
    return {**dict.fromkeys((*keys, *costs)), "resumed": False, "stops_study": stops_study, "error": error}
