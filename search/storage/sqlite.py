"""SQLite for a driver that writes often: a commit that no killed process can lose, without a wait for the disk.

With a write-ahead log (https://www.sqlite.org/wal.html) and synchronous=NORMAL, a commit is handed to the operating system at
once, and brought to the disk later: `kill -9` of the driver loses nothing. If the machine itself fails, the database is whole
and may lack the last seconds, whose trials go on from where it knows them. The processes that use a log share memory, so a
file that other machines may see keeps SQLite's own way, a rollback journal and a wait for the disk with every commit.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

_OF_ONE_MACHINE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"})
_MOUNTS = Path("/proc/self/mounts")


class Connection(sqlite3.Connection):
    """A connection as above; give it to `sqlite3.connect` as `factory`."""

    def __init__(self, database: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(database, *arguments, **named)
        if file_system(Path(database)) in _OF_ONE_MACHINE:
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = NORMAL")


def keep_log(path: Path) -> None:
    """Has a database keep a write-ahead log from now on, whoever opens it, where one machine alone sees it."""
    with contextlib.closing(sqlite3.connect(path, timeout=60, factory=Connection)):
        pass


def file_system(path: Path) -> str | None:
    """The type of the file system that holds a path, as Linux names it; None where it does not say."""
    if not _MOUNTS.exists():
        return None
    place = path.resolve()
    found: tuple[int, str | None] = (-1, None)
    for line in _MOUNTS.read_text(encoding="utf-8").splitlines():
        _, mounted, kind, *_ = line.split(" ")
        folder = mounted.encode().decode("unicode_escape")  # a space is \040
        # of several at one place, the last hides the others
        if place.is_relative_to(folder) and len(folder) >= found[0]:
            found = (len(folder), kind)
    return found[1]
