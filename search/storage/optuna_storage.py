"""Connects to the Optuna storage."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialSystemAttributeModel
from optuna.trial import FrozenTrial
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from search.config.places import password_hint, without_passwords
from search.errors import NoStudyError, StorageError
from search.storage import sqlite
from search.storage.retrying import RetryingStorage, damage

optuna.logging.set_verbosity(optuna.logging.WARNING)

_LOCKED_SECONDS = 60
MADE = "promptfront:made"
"""System attribute that tells whether a trial was already created by the same call."""


class _IdempotentStorage(RDBStorage):
    """A database that creates a trial only once, even if the call is repeated because its answer was lost.

    Optuna repeats calls by itself. So the check whether the trial exists must be in the transaction that creates it,
    where the study's row is locked.
    """

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Any) -> Any:
        if template_trial is not None and MADE in template_trial.system_attrs:
            latest = (
                session.query(TrialModel)
                .filter(TrialModel.study_id == study_id)
                .order_by(TrialModel.trial_id.desc())
                .first()
            )
            if latest is not None:
                known = TrialSystemAttributeModel.find_by_trial_and_key(latest, MADE, session)
                if (
                    known is not None
                    and json.loads(str(known.value_json)) == template_trial.system_attrs[MADE]
                ):
                    return latest
        return super()._get_prepared_new_trial(study_id, template_trial, session)


def study_names(storage: BaseStorage) -> list[str]:
    """Names of the Optuna studies in a storage."""
    return list(optuna.get_all_study_names(storage))


def _opened(url: str, options: dict[str, Any]) -> BaseStorage:
    """Opens a storage, without a cache, since `Trials` is one.

    While another process makes the tables of a new SQLite file, it is locked in a way that SQLite's own timeout does not wait for.
    """
    deadline = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            return _IdempotentStorage(url, engine_kwargs=options)
        except OperationalError as error:
            if "database is locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def file_of(url: str) -> Path | None:
    """The file of a SQLite database, or None for another one."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def connect(url: str, create: bool = True) -> BaseStorage:
    """Connects to the Optuna storage at a URL.

    Raises:
        NoStudyError: the SQLite file does not exist and must not be created.
        StorageError: the storage cannot be reached.
    """
    file = file_of(url)
    if file is not None and not create and not file.exists():
        raise NoStudyError(
            f"there is no file {file}; start a study with promptfront launch, from the same folder"
        )
    options: dict[str, Any] = {"pool_pre_ping": True}
    if file is not None:
        options = {"connect_args": {"timeout": 60, "factory": sqlite.Connection}}
    try:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        found = _opened(url, options)
    except (SQLAlchemyError, OSError, ImportError, RuntimeError, ValueError) as error:
        if file is not None and sqlite.damaged(error):
            raise StorageError(damage(str(file), error)) from error
        text = without_passwords(f"cannot reach the Optuna storage {url}: {error}", url)
        raise StorageError(text + password_hint(text)) from error
    retrying: BaseStorage = RetryingStorage(found, without_passwords(url, url))
    return retrying
