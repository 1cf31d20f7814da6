"""The connection to the Optuna storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from search.errors import NoStudyError, StorageError


def connect(url: str, create: bool = True) -> optuna.storages.RDBStorage:
    """The Optuna storage at a URL.

    Raises:
        NoStudyError: a SQLite file that is not there, and must not be created.
        StorageError: it cannot be reached.
    """
    sqlite = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else None
    if sqlite is not None and not create and not Path(sqlite).exists():
        raise NoStudyError(
            f"there is no {sqlite}; start a study with promptfront launch, from the same folder"
        )
    options: dict[str, Any] = (
        {"connect_args": {"timeout": 60}} if sqlite is not None else {"pool_pre_ping": True}
    )
    try:
        if sqlite is not None:
            Path(sqlite).parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (SQLAlchemyError, OSError, ImportError, RuntimeError, ValueError) as error:
        raise StorageError(f"cannot reach the Optuna storage {_without_password(url)}: {error}") from error


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(not a database URL)"
