"""What all kinds of task do with their splits: which one, and which of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from search import data
from search.config import TaskConfig
from search.errors import StudyFileError


def split_name(config: TaskConfig, split: str) -> tuple[str, str]:
    """The split's name in the data, and the place in the study file that gives it."""
    field = f"{split}_split"
    if split == "validation" and config.data.validation_split is None:
        field = "train_split"
    name = getattr(config.data, field)
    if name is None:
        raise StudyFileError("data.test_split: must name a split to be scored on; it is null")
    return name, f"data.{field}"


def draw(config: TaskConfig, seed: int, split: str, targets: Sequence[int]) -> list[int]:
    """Numbers of the rows that are used; validation is cut from train where it has no split.

    Args:
        config: the task's section.
        seed: the study's.
        split: "train", "validation" or "test".
        targets: of each row, the class by which rows are drawn evenly.

    Raises:
        StudyFileError: no row is left.
    """
    order = data.seeded_order(len(targets), seed, config.name, split)
    if config.data.validation_split is None and split != "test":
        whole = data.seeded_order(len(targets), seed, config.name, "cut")
        train, validation = data.cut(whole, targets, config.data.validation_fraction)
        mine = set(train if split == "train" else validation)
        order = [row for row in order if row in mine]
    few_shot = config.few_shot if split == "train" else None
    numbers = data.take(order, targets, few_shot, getattr(config, f"max_{split}_samples"))
    if not numbers:
        raise StudyFileError(
            f"data.validation_fraction: too small to leave rows for {split}; got {len(targets)} rows"
        )
    return numbers
