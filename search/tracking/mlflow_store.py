"""Connects to MLflow's store, and turns its errors into messages without passwords."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from search.config.places import is_server, password_hint, without_passwords
from search.config.study_config import StudyConfig
from search.errors import StorageError
from search.storage import sqlite

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# No retries by MLflow's client: it would wait minutes for a server that is away, and would create a run twice if an
# answer was lost. `Tracker` retries instead, and looks first what is already there.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


_SERVED = ("postgresql", "mysql", "mssql")
"""Databases behind a server."""


class TrackingError(StorageError):
    """MLflow cannot be reached, or refuses to write."""


def connect(address: str) -> MlflowClient:
    """Connects to the store; for SQLite, creates the file if needed, with a write-ahead log.

    Raises:
        MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError: the store cannot be reached; see
        `errors`.
    """
    if address.startswith("sqlite:///"):
        file = Path(address.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _make(file)
        sqlite.keep_log(file)
    elif address.partition(":")[0].partition("+")[0] in _SERVED:
        _try_out(address)
    return MlflowClient(tracking_uri=address)


def _try_out(address: str) -> None:
    """Connects to a database once: MLflow itself would try ten times, which takes 100 s with a wrong password too."""
    engine = create_engine(address)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _make(file: Path) -> None:
    """Creates a database, first under a temporary name: MLflow cannot complete one that was left half made."""
    from mlflow.store.db.utils import _initialize_tables

    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    engine = create_engine(f"sqlite:///{temporary}")
    try:
        _initialize_tables(engine)
        engine.dispose()
        try:
            os.link(temporary, file)
        except FileExistsError:
            pass  # another study was faster
        except OSError:  # a file system without links
            os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def artifacts(config: StudyConfig, address: str) -> str | None:
    """The place of a new experiment's artifacts; None lets the tracking server decide.

    A database has no such place, and MLflow would use the current directory.
    """
    if is_server(address):
        return None
    return f"{(config.output_dir / 'mlartifacts').absolute().as_uri()}/{config.study}"


@contextlib.contextmanager
def errors(address: str) -> Iterator[None]:
    """Turns errors of MLflow and its database into a TrackingError that says what to do."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        text = without_passwords(f"cannot write to MLflow at {address}: {error}", address)
        if is_server(address) and any(f"error code {code}" in text for code in (401, 403)):
            raise TrackingError(
                f"MLflow at {without_passwords(address)} refuses the user or the password: set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user who may write"
            ) from error
        raise TrackingError(text + password_hint(text)) from error
