"""Errors a user can meet, each with the exit code that the command line ends with.

Every message says what was expected, what was got, and what to do.
"""

from __future__ import annotations


class PromptfrontError(Exception):
    """The root of the errors a user can meet; the message is printed, not the traceback."""

    exit_code = 1


class StudyFileError(PromptfrontError):
    """The study file, an override, or the data it names is wrong: nothing was started."""

    exit_code = 2


class StudyChangedError(StudyFileError):
    """The study exists already with other settings than the file's."""


class NoStudyError(StudyFileError):
    """There is no such study in the storage."""


class NoFeasibleTrialError(PromptfrontError):
    """Every trial failed."""

    exit_code = 3


class StorageError(PromptfrontError):
    """The Optuna storage or the MLflow store cannot be reached or read."""

    exit_code = 5


class HaltedError(StorageError):
    """No trial can go on, as when the disk is full; what ran can be resumed."""
