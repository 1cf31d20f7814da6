"""A database whose file was written over: said at once, with the last whole copy, from which the study goes on."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from search.config.study_config import StudyConfig
from search.errors import StorageError
from search.storage import sqlite
from search.study.study import Assignment, Study
from tests.search.studies import by_rate, end, load, run


@pytest.fixture
def config(study: dict[str, Any], tmp_path: Path) -> StudyConfig:
    return load(study, tmp_path)


def zeros_in(database: Path, share: float) -> None:
    """40 kB of zeros, as a failing disk may leave them; the log is in the file before."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    for extra in ("-wal", "-shm"):
        database.with_name(database.name + extra).unlink(missing_ok=True)
    with database.open("r+b") as file:
        file.seek(int(share * database.stat().st_size))
        file.write(bytes(40_000))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_damage_is_said_at_once_and_the_copy_goes_on(config: StudyConfig, share: float) -> None:
    """Before, the driver waited ten minutes for a database that was "away"."""
    study = Study(config)
    while isinstance(found := study.next(), Assignment) and found.key.stage == "search":
        end(study, found, *by_rate(found))
    database = config.output_dir / "optuna.db"
    copy = sqlite.copy_of(database)
    assert copy.exists(), "the search of a method has ended"
    zeros_in(database, share)
    with pytest.raises(StorageError) as caught:
        run(Study(config), by_rate)
    assert "is damaged" in str(caught.value)
    assert f"The last whole copy is {copy}" in str(caught.value)
    copy.replace(database)
    again = Study(config)
    run(again, by_rate)
    assert again.finished()
    assert len(list(again.trials())) > 9


def test_without_a_copy_it_is_said(config: StudyConfig) -> None:
    Study(config)
    database = config.output_dir / "optuna.db"
    zeros_in(database, 0.0)
    with pytest.raises(StorageError, match=r"is damaged .*There is no copy of it"):
        Study(config)


def test_a_copy_that_cannot_be_written_stops_nothing(config: StudyConfig) -> None:
    Study(config)
    database = config.output_dir / "optuna.db"
    sqlite.copy_of(database).mkdir()
    sqlite.back_up(database)
    assert not database.with_name("optuna.db.backup.half").exists()
