"""Notes on settings that have no effect, or that leave the study without a recommendation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from search.config.study_config import StudyConfig
from search.plan import resources
from search.strategy import early_stopping

_FEW_GROUPS = 20
"""With fewer groups than this in test, intervals for new groups are rough."""


def of_groups(groups: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yields a note on each task with few groups in test; `groups` are their numbers by task and split."""
    for task, counts in groups.items():
        if counts.get("test", _FEW_GROUPS) < _FEW_GROUPS:
            yield (
                f"task {task}: test has {counts['test']} groups, so intervals will be rough: use {_FEW_GROUPS} or more"
            )


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
