"""A storage that repeats calls while its database is away, so that a study survives the database's restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from sqlalchemy.exc import DBAPIError

from search.errors import HaltedError, StorageError
from search.storage import sqlite

_PATIENCE = 600.0
"""Seconds that a database may be away."""
_LONGEST_PAUSE = 5.0
_FULL = "database or disk is full"
"""SQLite's message when the disk is full. We do not wait then: nobody may be there to free space."""
_log = logging.getLogger("promptfront")


def damage(file: str, reason: object) -> str:
    """What to do about a SQLite database whose file is damaged."""
    copy = sqlite.copy_of(Path(file))
    cure = (
        f"The last whole copy is {copy}, of {datetime.fromtimestamp(copy.stat().st_mtime):%Y-%m-%d %H:%M}: move it to {file} "
        "and launch again; what ended after it is trained again"
        if copy.exists()
        else "There is no copy of it: launch the study under another name"
    )
    return f"the file of the Optuna storage, {file}, is damaged ({str(reason).splitlines()[0]}). {cure}"


def _waiting(name: str) -> Callable[..., Any]:
    """Makes a storage method that repeats its call while the database is away.

    A call whose answer was lost runs twice. That does no harm: facts are written again, an ended trial stays as it is,
    and a trial is created only once (`search/storage/optuna_storage.py`).
    """

    def call(self: Any, *given: Any, **named: Any) -> Any:
        deadline, pause = None, 0.2
        while True:
            try:
                return getattr(self.storage, name)(*given, **named)
            except UpdateFinishedTrialError:
                if deadline is None:
                    raise
                return True  # the call whose answer was lost has ended the trial
            except (StorageInternalError, DBAPIError) as error:
                reason = error.__cause__ or error  # Optuna's own message is the same for every error
                if _FULL in str(reason):
                    raise HaltedError(
                        f"the disk of the Optuna storage {self.place} is full: {reason}. What was recorded is safe: free some "
                        "space and launch again to continue"
                    ) from error
                if sqlite.damaged(reason):
                    raise StorageError(damage(self.place.removeprefix("sqlite:///"), reason)) from error
                now = time.monotonic()
                if deadline is None:
                    deadline = now + _PATIENCE
                    _log.warning("The Optuna storage %s is away; waiting for it", self.place)
                if now > deadline:
                    raise StorageError(
                        f"the Optuna storage {self.place} has been away for {_PATIENCE / 60:.0f} minutes: {reason}. "
                        "What was recorded is safe: launch again to continue"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    return call


def _storage(self: Any, storage: BaseStorage, place: str) -> None:
    self.storage, self.place = storage, place


_CALLS = [
    name for name in dir(BaseStorage) if not name.startswith("_") and callable(getattr(BaseStorage, name))
]
RetryingStorage: Any = type(
    "RetryingStorage", (BaseStorage,), {"__init__": _storage, **{name: _waiting(name) for name in _CALLS}}
)
