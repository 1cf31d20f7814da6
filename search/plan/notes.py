"""Notes on settings that have no effect, or that leave the study without a recommendation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import Protocol

from search.config.study_config import StudyConfig
from search.plan import memory, resources
from search.strategy import early_stopping

_ENOUGH_ROWS = {"train": 10, "validation": 20, "test": 30}
"""With fewer rows little is learned, and a score has steps of several points."""
_ENOUGH_DISK = 2 * 2**30
_FEW_GROUPS = 20
"""With fewer groups than this in test, intervals for new groups are rough."""


class Counted(Protocol):
    """A task whose examples, and groups of them, are counted by split."""

    @property
    def name(self) -> str: ...

    @property
    def rows(self) -> dict[str, int]: ...

    @property
    def groups(self) -> dict[str, int]: ...


def of_tasks(tasks: Sequence[Counted]) -> Iterator[str]:
    """Yields a note on each split that is too small to show anything, and on each task with few groups in test."""
    for task in tasks:
        for split, enough in _ENOUGH_ROWS.items():
            if task.rows.get(split, enough) < enough:
                yield f"task {task.name}: {task.rows[split]} rows of {split} show little: use {enough} or more"
        if (groups := task.groups.get("test", _FEW_GROUPS)) < _FEW_GROUPS:
            yield (
                f"task {task.name}: test has {groups} groups, so intervals will be rough: use {_FEW_GROUPS} or more"
            )


def of_room(config: StudyConfig, trial_bytes: int, parallel: int, checkpoint_bytes: int) -> Iterator[str]:
    """Yields a note where memory or disk is short now, on a machine that runs the trials itself.

    Args:
        config: the study.
        trial_bytes: the estimated memory of its largest trial.
        parallel: how many trials run at once.
        checkpoint_bytes: the most that checkpoints take.
    """
    if config.cluster.address is None:
        there = memory.free()
        if trial_bytes * parallel > there:
            fit, who = there // trial_bytes, memory.largest_other()
            cure = f"set cluster.max_concurrent_trials: {fit}" if fit else "free some, or the study waits"
            holds = f" ({who})" if who else ""
            yield (
                f"{parallel} trials may need {memory.gigabytes(trial_bytes * parallel)} of memory, and "
                f"{memory.gigabytes(there)} are free{holds}: {cure}"
            )
    place = next(each for each in (config.folder, *config.folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    enough = _ENOUGH_DISK
    if "://" not in (config.tracking.checkpoints or ""):
        enough += checkpoint_bytes
    if free < enough:
        yield f"the disk of {config.folder} has {memory.gigabytes(free)} free: use {memory.gigabytes(enough)} or more"


def of_settings(config: StudyConfig) -> Iterator[str]:
    """Yields what the user should know before the study starts, one sentence each."""
    yield from _missing_test_splits(config)
    yield from _limits_without_effect(config)
    yield from _early_stopping_without_effect(config)


def _missing_test_splits(config: StudyConfig) -> Iterator[str]:
    for task in config.tasks:
        if task.data.test_split is None:
            yield f"task {task.name} has no test data, so the report cannot recommend a method: set data.test_split"


def _early_stopping_without_effect(config: StudyConfig) -> Iterator[str]:
    training, search = config.training, config.search
    if search.early_stopping and not early_stopping.rungs(
        training.max_steps, training.eval_steps, search.eta
    ):
        latest = training.max_steps // search.eta
        cure = f"Set training.eval_steps to {latest} or less" if latest else "Raise training.max_steps"
        yield f"search.early_stopping has no effect, because the first evaluation comes too late. {cure}"


def _limits_without_effect(config: StudyConfig) -> Iterator[str]:
    known = config.cluster.address is None or config.cluster.gpus_per_trial is not None
    asked = resources.per_trial(config.cluster, resources.of_this_machine()["GPU"])
    if config.search.max_gpu_hours is not None and known and "gpu" not in asked:
        yield "search.max_gpu_hours has no effect, because trials use no GPU. Use search.max_hours"
