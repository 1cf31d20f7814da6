"""The kinds of task, one file for each. `load` reads a task's data and turns it into tokens.

A kind is a module of this package with a class `Config` for its settings and functions `load` and `count`. It imports
heavy libraries only where it uses them, so that a study file is checked quickly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from search.config.task_config import TaskConfig
from search.tasks.task import Evaluation, Row, Split, Task, Trivial

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from methods.backbone.shape import Architecture

__all__ = ["Evaluation", "Row", "Split", "Task", "Trivial", "count", "load"]


def load(
    config: TaskConfig,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    seed: int,
    splits: Sequence[str] = ("train", "validation"),
    architecture: Architecture = "encoder",
) -> Task:
    """Loads a task with the given splits. Train is always read, since it has the labels; other splits are not.

    Args:
        config: the task's section of the study file.
        tokenizer: the backbone's tokenizer.
        max_length: the most tokens of a text, special tokens included; longer texts are cut.
        seed: the study's seed, from which rows are drawn.
        splits: "train", "validation", "test".
        architecture: the backbone's architecture; it decides how texts to be written are laid out.

    Raises:
        StudyFileError: the data, a column, split, label or text is wrong. The message begins with the place in the
            task's section.
    """
    task: Task = _kind(config).load(config, tokenizer, max_length, seed, tuple(splits), architecture)
    return task


def count(config: TaskConfig, split: str) -> int:
    """Counts the rows of a split in the data (the task may use fewer), and checks its columns without reading them.

    Raises:
        StudyFileError: there is no such split or column, or the split is empty.
    """
    rows: int = _kind(config).count(config, split)
    return rows


def _kind(config: TaskConfig) -> ModuleType:
    return sys.modules[type(config).__module__]
