"""Errors that a user can meet, each with the exit code of the command line.

Every message says what was expected, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search.terminal import printable


class PromptfrontError(Exception):
    """Base class of the errors a user can meet; the command line prints the message, not the traceback."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class StudyFileError(PromptfrontError):
    """The study file, an override or the data is wrong; nothing was started."""

    exit_code = 2


class StudyChangedError(StudyFileError):
    """The study already exists with other settings than the study file's."""


class NoStudyError(StudyFileError):
    """The storage has no such study."""


class StorageError(PromptfrontError):
    """The Optuna storage or the MLflow store cannot be reached or read."""

    exit_code = 5


class HaltedError(StorageError):
    """No trial can continue, for example because the disk is full; the study can be resumed."""


_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Problem:
    """One mistake: its place in the study file, and what to do about it."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def study_file_error(problems: Sequence[Problem], source: object) -> StudyFileError:
    """Makes one error of all problems in `source`, one line each."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return StudyFileError(f"{source}: {count}\n" + "\n".join(f"  {problem}" for problem in problems))


def problem(error: StudyFileError, prefix: str = "") -> Problem:
    """Turns an error into a problem; its message must begin with a place in the study file."""
    place, _, text = str(error).partition(": ")
    return Problem(prefix + place, text)


def did_you_mean(got: object, allowed: Iterable[object]) -> str:
    """`; did you mean x?` if an allowed name is close to `got`, else an empty text."""
    by_text = {str(name).lower(): str(name) for name in allowed}
    close = difflib.get_close_matches(str(got).lower(), by_text, n=1)
    return f"; did you mean {by_text[close[0]]}?" if close else ""


def show(value: object) -> str:
    """A value as the user would write it, shortened if it is long."""
    plain = {True: "true", False: "false", None: "null"}
    text = plain[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
