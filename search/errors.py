"""Errors a user can meet, each with the exit code that the command line ends with.

Every message says what was expected, what was got, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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


_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Problem:
    """One mistake: where in the study file, and what to do about it."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def study_file_error(problems: Sequence[Problem], source: object) -> StudyFileError:
    """One error for all problems, a line each, in `source`'s name."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return StudyFileError(f"{source}: {count}\n" + "\n".join(f"  {problem}" for problem in problems))


def problem(error: StudyFileError, prefix: str = "") -> Problem:
    """The problem of an error whose message begins with a place, as those of the model and the data do."""
    place, _, text = str(error).partition(": ")
    return Problem(prefix + place, text)


def did_you_mean(got: object, allowed: Iterable[object]) -> str:
    """`; did you mean x?` where something allowed is close to what was got, or nothing."""
    by_text = {str(name).lower(): str(name) for name in allowed}
    close = difflib.get_close_matches(str(got).lower(), by_text, n=1)
    return f"; did you mean {by_text[close[0]]}?" if close else ""


def show(value: object) -> str:
    """A value as the user would write it, cut where it is long."""
    plain = {True: "true", False: "false", None: "null"}
    text = plain[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
