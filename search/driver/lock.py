"""Allows one driver per study; a second one is refused and told who runs it.

On one host a lock on the study's folder does this; it ends with its process. Drivers on several hosts may share only
the storage, so there they use a lease: its holder renews it, and it expires if it is not renewed for `TERM` seconds.
No clocks are compared: a second driver waits and looks whether the lease changes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from search.errors import StorageError

if TYPE_CHECKING:
    from search.study.study import Study

TERM = 30.0
"""Seconds after which a lease that is not renewed expires."""
_RENEWAL = 5.0
_LEASE = "driver"


class StudyHeldError(StorageError):
    """Another driver is running this study."""


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Locks the study's folder; the lock ends with the process.

    Raises:
        StudyHeldError: another process holds the lock.
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
        raise _refusal(f"the study in {folder}", who) from error
    try:
        holder.write_text(f"{_me()}\n", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def study_lease(study: Study, say: Callable[[str], object]) -> Iterator[None]:
    """Holds the study in its storage. If another driver takes the lease, this process gets SIGTERM.

    Args:
        study: the study.
        say: is called with a message if we have to wait for a lease to expire.

    Raises:
        StudyHeldError: another driver keeps renewing its lease.
    """
    _wait_for_the_last(study, say)
    mine: dict[str, Any] = {
        "who": _me(),
        "host": platform.node(),
        "process": os.getpid(),
        "token": uuid.uuid4().hex,
        "renewed": 0,
    }
    study.record_study_fact(_LEASE, mine)
    other = study.fact_of_study(_LEASE)
    if other["token"] != mine["token"]:  # another driver waited for the same lease and was faster
        raise _refusal(f"the study {study.config.study!r}", other["who"])
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_RENEWAL):
            with contextlib.suppress(StorageError):  # the main thread meets the same error and reports it
                if study.fact_of_study(_LEASE)["token"] != mine["token"]:
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                mine["renewed"] += 1
                study.record_study_fact(_LEASE, mine)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(StorageError):  # without this, the lease expires by itself
            if study.fact_of_study(_LEASE)["token"] == mine["token"]:
                study.record_study_fact(_LEASE, None)


def _wait_for_the_last(study: Study, say: Callable[[str], object]) -> None:
    """Waits until the last driver's lease has expired, unless that driver is known to be dead.

    Raises:
        StudyHeldError: the driver renews its lease.
    """
    before = study.fact_of_study(_LEASE)
    if before is None or _dead(before):
        return
    say(
        f"Another driver ran this study ({before['who']}); waiting {TERM:.0f} s to see whether it still does ..."
    )
    deadline = time.monotonic() + TERM
    while time.monotonic() < deadline:
        time.sleep(1)
        now = study.fact_of_study(_LEASE)
        if now is None:
            return
        if now != before:
            raise _refusal(f"the study {study.config.study!r}", now["who"])


def _dead(lease: dict[str, Any]) -> bool:
    """Whether the lease's process is known to have ended, which only its own host can tell."""
    if lease["host"] != platform.node():
        return False
    try:
        os.kill(lease["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return bool(lease["process"] == os.getpid())  # an earlier launch of this very process


def _me() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _refusal(what: str, who: str) -> StudyHeldError:
    return StudyHeldError(f"{what} is being run by {who}; wait for it, or stop it (it can be resumed)")
