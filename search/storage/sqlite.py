"""SQLite for a driver that writes often: commits survive a killed process and do not wait for the disk.

With a write-ahead log (https://www.sqlite.org/wal.html) and synchronous=NORMAL, a commit goes to the operating system
at once and to the disk later, so `kill -9` of the driver loses nothing. If the machine itself fails, the database
stays intact but may lack the last seconds; their trials continue from their last recorded step. Processes that use a
log share memory, so a file that other machines may open keeps SQLite's default: a rollback journal and a wait for the
disk at every commit.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

_OF_ONE_MACHINE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"})
_log = logging.getLogger("promptfront")
_MOUNTS = Path("/proc/self/mounts")


class Connection(sqlite3.Connection):
    """A connection with these settings; pass it to `sqlite3.connect` as `factory`."""

    def __init__(self, database: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(database, *arguments, **named)
        if file_system(Path(database)) in _OF_ONE_MACHINE:
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = NORMAL")


_DAMAGED = ("malformed", "not a database")
"""What SQLite says of a file that something else has written to, or cut."""


def damaged(error: object) -> bool:
    """Whether an error says that a database's file is damaged: waiting would not help."""
    return any(text in str(error) for text in _DAMAGED)


def copy_of(path: Path) -> Path:
    """The file that `back_up` writes."""
    return path.with_name(f"{path.name}.backup")


def back_up(path: Path) -> None:
    """Writes a whole copy of a database beside it, while others use it (SQLite's online backup); replaces the last copy."""
    half = path.with_name(f"{path.name}.backup.half")
    half.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(path, timeout=60)) as source,
            contextlib.closing(sqlite3.connect(half)) as copy,
        ):
            source.backup(copy)
        half.replace(copy_of(path))
    except (sqlite3.Error, OSError) as error:  # the study goes on without a copy
        _log.warning("%s could not be copied: %s", path, error)
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)


def keep_log(path: Path) -> None:
    """Switches a database to a write-ahead log for everyone who opens it, if only this machine can see it."""
    with contextlib.closing(sqlite3.connect(path, timeout=60, factory=Connection)):
        pass


def file_system(path: Path) -> str | None:
    """The type of the file system that holds a path, by Linux's name; None if it is not known."""
    if not _MOUNTS.exists():
        return None
    place = path.resolve()
    found: tuple[int, str | None] = (-1, None)
    for line in _MOUNTS.read_text(encoding="utf-8").splitlines():
        _, mounted, kind, *_ = line.split(" ")
        folder = mounted.encode().decode("unicode_escape")  # a space is \040
        # if several are mounted at one place, the last hides the others
        if place.is_relative_to(folder) and len(folder) >= found[0]:
            found = (len(folder), kind)
    return found[1]
