"""The tasks: one file per kind, found by its name. `load` reads a task's data and turns it into tokens.

A kind is a module of this package with a class `Config`, its settings, and functions `load` and `count`. It imports heavy
libraries where it uses them, so that a study file is checked at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from search.config.task_config import TaskConfig
from search.tasks.task import Evaluation, Row, Split, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from methods.backbone.shape import Architecture

__all__ = ["Evaluation", "Row", "Split", "Task", "count", "load"]


def load(
    config: TaskConfig,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    seed: int,
    splits: Sequence[str] = ("train", "validation"),
    architecture: Architecture = "encoder",
) -> Task:
    """The task with the splits asked for; others are not opened, but train, which knows the labels.

    Args:
        config: the task's section of the study file.
        tokenizer: of the backbone.
        max_length: tokens of the longest text, special tokens included; longer ones are cut.
        seed: the study's, of every subsample.
        splits: "train", "validation", "test".
        architecture: of the backbone, which says how a text to be written is laid out.

    Raises:
        StudyFileError: data, column, split, label or text is not as it must be. The message begins with the
            place within the task's section.
    """
    task: Task = _kind(config).load(config, tokenizer, max_length, seed, tuple(splits), architecture)
    return task


def count(config: TaskConfig, split: str) -> int:
    """Rows of a split in the data, of which the task may use fewer. Its columns must be there; no value is read.

    Raises:
        StudyFileError: there is no such split or column, or the split is empty.
    """
    rows: int = _kind(config).count(config, split)
    return rows


def _kind(config: TaskConfig) -> ModuleType:
    return sys.modules[type(config).__module__]
