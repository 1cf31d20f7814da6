"""Settings of a study that have no effect, or that leave it without a recommendation."""

from __future__ import annotations

from collections.abc import Iterator

from search.config.study_config import StudyConfig
from search.plan import resources
from search.strategy import early_stopping


def of_settings(config: StudyConfig) -> Iterator[str]:
    """What the user should know before the study starts, a sentence each."""
    yield from _missing_test_splits(config)
    yield from _limits_without_effect(config)
    yield from _early_stopping_without_effect(config)


def _missing_test_splits(config: StudyConfig) -> Iterator[str]:
    for task in config.tasks:
        if task.data.test_split is None:
            yield f"task {task.name} has no data.test_split, so the report cannot recommend a method"


def _early_stopping_without_effect(config: StudyConfig) -> Iterator[str]:
    training, search = config.training, config.search
    if search.early_stopping and not early_stopping.rungs(
        training.max_steps, training.eval_steps, search.eta
    ):
        latest = training.max_steps // search.eta
        cure = f"set training.eval_steps to {latest} or less" if latest else "raise training.max_steps"
        yield (
            "search.early_stopping has no effect: the first evaluation comes after the last step at which a trial "
            f"can be stopped; {cure}"
        )


def _limits_without_effect(config: StudyConfig) -> Iterator[str]:
    known = config.cluster.address is None or config.cluster.gpus_per_trial is not None
    asked = resources.per_trial(config.cluster, resources.of_this_machine()["GPU"])
    if config.search.max_gpu_hours is not None and known and "gpu" not in asked:
        yield "search.max_gpu_hours has no effect: trials use no GPU; use search.max_hours"
