"""Where MLflow keeps a study, and what it says when it cannot be reached, without the passwords in it."""

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
# MLflow's client would ask a server that is away for minutes, and one whose answer was lost to make a run again, unseen.
# What asks again here is `Tracker`, which looks first.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


class TrackingError(StorageError):
    """MLflow cannot be reached, or refuses what we write."""


def connect(address: str) -> MlflowClient:
    """A client of the store; of SQLite the folder and the file are made, with a write-ahead log.

    Raises:
        MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError: it cannot be reached; see `errors`.
    """
    if address.startswith("sqlite:///"):
        file = Path(address.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _make(file)
        sqlite.keep_log(file)
    return MlflowClient(tracking_uri=address)


def _make(file: Path) -> None:
    """Makes a database under another name first: one that a killed process had half made, MLflow could not make whole."""
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
    """Where a new experiment's artifacts go; None lets the tracking server decide.

    A database has no place for them, and MLflow would take the current directory.
    """
    if is_server(address):
        return None
    return f"{(config.output_dir / 'mlartifacts').absolute().as_uri()}/{config.study}"


@contextlib.contextmanager
def errors(address: str) -> Iterator[None]:
    """Turns what MLflow and its database raise into a TrackingError that says what to do."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        text = without_passwords(f"cannot write to MLflow at {address}: {error}", address)
        if is_server(address) and any(f"error code {code}" in text for code in (401, 403)):
            raise TrackingError(
                f"MLflow at {without_passwords(address)} refuses the user or the password: "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (and see that the user may write)"
            ) from error
        raise TrackingError(text + password_hint(text)) from error
