"""Estimates how many trials there are and what they cost: time from a few real steps, memory and disk from formulas."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import torch

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.shape import Shape
from search.config import spaces
from search.config.finalists_config import FinalistsConfig
from search.config.spaces import Space
from search.config.study_config import StudyConfig
from search.strategy import grid
from search.strategy.sampling import fingerprint
from search.tasks import Split, Task
from search.training.evaluation import predict
from search.training.steps.pack import Pack
from search.training.trial import Trial, worth_computing_once

_PROBE_STEPS = 2
_PROCESS_BYTES = 600 * 2**20
"""Memory of a worker process with torch and transformers, without a model."""

Runs = tuple[int, int]
"""Numbers of runs without and with extra seeds."""


class Timer:
    """Times a few steps of a method on this machine, with as many cores as a trial will have."""

    def __init__(self, config: StudyConfig, path: str, loaded: Sequence[Task]) -> None:
        self._config = config
        self._tasks = loaded
        self._backbone = Backbone.load(
            path,
            dtype=getattr(torch, config.model.dtype),
            device="cuda" if torch.cuda.is_available() else "cpu",
            trust_remote_code=config.model.trust_remote_code,
            language_model=config.language_model,
        )

    def seconds_per_trial(self, method: str, space: Space) -> float:
        """Estimates the seconds of a whole trial in the middle of the space, with all its evaluations.

        What is computed once in a worker process is shared among the trials.
        """
        training = self._config.training
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, int(self._config.cluster.cpus_per_trial)))
        try:
            trial = Trial(
                methods.get(method).Method,
                spaces.make_config(method, spaces.middle(space.ranges), space),
                self._backbone,
                self._tasks,
                [1 / len(self._tasks)] * len(self._tasks),
                training.model_copy(update={"max_steps": _PROBE_STEPS + 1}),
                self._config.seed,
            )
            row = seconds_per_row(trial, self._backbone)
            if trial.reads_frozen_features and worth_computing_once(self._tasks, training):
                rows = sum(len(task.splits[name]) for task in self._tasks for name in ("train", "validation"))
                return row * rows / self._config.search.trials_per_method
            step = seconds_per_step(trial) if trial.parameters else 0.0
        finally:
            torch.set_num_threads(threads)
        evaluations = -(-training.max_steps // training.eval_steps)
        rows = sum(len(task.splits["validation"]) for task in self._tasks)
        return training.max_steps * step + evaluations * rows * row


def seconds_per_step(trial: Trial, steps: int = _PROBE_STEPS) -> float:
    """Measures the seconds of a training step: the mean of a few, after one to warm up."""
    pack = Pack()
    pack.attach(trial)
    pack.step()
    start = time.perf_counter()
    for _ in range(steps):
        pack.step()
    return (time.perf_counter() - start) / steps


def seconds_per_row(trial: Trial, backbone: Backbone) -> float:
    """Measures the seconds to evaluate one row, on one batch of the first task's validation split."""
    whole, size = trial.tasks[0].splits["validation"], trial.settings.per_device_eval_batch_size
    batch = Split(whole.rows[:size], whole.sha256)
    start = time.perf_counter()
    predict(trial, 0, batch, backbone, size)
    return (time.perf_counter() - start) / len(batch)


def finalist_runs(settings: FinalistsConfig, trials: int) -> Runs:
    """The most runs of a method's second stage, without and with extra seeds.

    Args:
        settings: the section `finalists`.
        trials: the method's trials in the search.
    """
    runs = settings.most_runs(settings.race(), trials)
    return runs, runs + settings.most_seeds - settings.num_seeds


def trials(config: StudyConfig, method: str, space: Space) -> int:
    """The number of trials: the budget, or fewer if the space is smaller; adaptive allocation may change it later."""
    budget, weights = config.search.trials_per_method, spaces.loss_weights(config.tasks)
    ranges = {**space.ranges, **weights.ranges}
    if grid.size(ranges) is None:
        return budget
    different = set()
    for params in grid.points(ranges):
        different.add(fingerprint(spaces.resolved(method, params, space, weights)))
        if len(different) == budget:
            break
    return len(different)


def checkpoint_bytes(methods: Iterable[tuple[int, int]], heads: int, parallel: int) -> int:
    """The most bytes of checkpoints that lie on the disk at any time.

    A checkpoint has each trained scalar and AdamW's two averages of it, all float32. A trial that runs keeps two and writes a
    third; afterwards each method keeps that of its best trial, and one of each finalist's run.

    Args:
        methods: for each method the most trained scalars of a trial, heads left out, and the most runs of its second stage.
        heads: the scalars of the heads.
        parallel: how many trials run at once.
    """
    sizes = [(12 * (trained + heads), runs) for trained, runs in methods]
    return 3 * parallel * max(size for size, _ in sizes) + sum(size * (1 + runs) for size, runs in sizes)


def memory_bytes(
    config: StudyConfig, shape: Shape, trained: int, virtual: int, private: bool, loaded: Sequence[Task]
) -> int:
    """Estimates the memory of a trial, in bytes.

    It adds up the process, the model, its copy if the method trains one (`private`), 16 bytes for each trained scalar
    (its value, gradient and AdamW's state, all float32 for any `model.dtype`) and what the backward pass keeps of the
    longest batch.
    """
    width = {"float32": 4, "bfloat16": 2}[config.model.dtype]
    longest = max(row.length for task in loaded for split in task.splits.values() for row in split.rows)
    tokens = config.training.per_device_train_batch_size * (longest + virtual)
    per_token = 18 * shape.hidden_size + 2 * shape.heads * (longest + virtual)
    kept = tokens * per_token * (shape.layers if trained else 1)
    written = max((task.settings.get("max_target_length", 0) for task in loaded), default=0)
    # the scores of the vocabulary, and their gradients
    kept += 3 * config.training.per_device_train_batch_size * written * shape.vocab_size
    models = shape.parameters * (2 if private else 1)
    return _PROCESS_BYTES + width * (models + kept) + 16 * trained
