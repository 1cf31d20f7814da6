"""One driver per study: a second is refused, and told who holds it."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import filelock

from search.errors import StorageError


class StudyHeldError(StorageError):
    """Another driver runs this study."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds the study's folder; the lock dies with the process.

    Raises:
        StudyHeldError: another process holds it.
        StorageError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error}; choose another output_dir") from error
    holder = folder / "driver.txt"
    lock = filelock.FileLock(folder / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        who = holder.read_text(encoding="utf-8").strip() if holder.exists() else "an unknown process"
        raise StudyHeldError(
            f"the study in {folder} is being run by {who}; wait for it, or stop it (it can be resumed)"
        ) from error
    try:
        holder.write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
