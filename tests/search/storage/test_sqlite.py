"""SQLite's write-ahead log: where it is kept, and that a killed process loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.config import study_file
from search.storage import sqlite
from search.study.study import Study
from search.tracking import mlflow_store
from tests.search.conftest import write_study

RECORD_AND_DIE = """
import os, pathlib, signal, sys
from optuna.trial import TrialState
from search.config import study_file
from search.study.study import Study
study = Study(study_file.load(pathlib.Path(sys.argv[1])))
key = study.next().key
for step in range(1, 21):
    study.record_evaluation(key, step, {"validation": 0.01 * step}, deployed_parameters=5)
study.tell(key, TrialState.COMPLETE, 0.2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def mode(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
        return found


def test_a_killed_process_loses_nothing_that_it_told(study: dict[str, Any], tmp_path: Path) -> None:
    path = write_study(study, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", RECORD_AND_DIE, str(path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    config = study_file.load(path)
    database = config.output_dir / "optuna.db"
    assert database.with_name("optuna.db-wal").stat().st_size > 0, "it is in the log"
    opened = Study(config)
    (told,) = (trial for _, trial in opened.trials() if trial.state.is_finished())
    assert told.values == [0.2, 5.0]
    assert told.user_attrs["step:20"] == {"validation": 0.2}
    assert mode(database) == "wal"


@pytest.mark.slow
def test_what_a_killed_process_has_half_made_is_made_anew(tmp_path: Path) -> None:
    """MLflow makes its database in many steps, and cannot go on with one that lacks some of them."""
    address = f"sqlite:///{tmp_path}/mlflow.db"
    make = f"from search.tracking import mlflow_store; mlflow_store.connect({address!r}).search_experiments()"
    process = subprocess.Popen(
        [sys.executable, "-c", make], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    )
    while not any(tables(file) >= 20 for file in tmp_path.glob("mlflow*[bp]")):
        assert process.poll() is None
    process.kill()
    process.wait()
    with mlflow_store.errors(address):
        assert mlflow_store.connect(address).search_experiments()
    assert mode(tmp_path / "mlflow.db") == "wal"


def tables(path: Path) -> int:
    """How many a database has; none while it is written."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return len(connection.execute("select 1 from sqlite_master where type = 'table'").fetchall())
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize(("kind", "expected"), [("ext4", "wal"), ("nfs4", "delete"), ("lustre", "delete")])
def test_a_log_is_kept_where_one_machine_alone_sees_it(
    kind: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a place"
    place.mkdir()
    mounts = tmp_path / "mounts"
    escaped = str(place).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/ {escaped} {kind} rw 0 0\n")
    monkeypatch.setattr(sqlite, "_MOUNTS", mounts)
    assert sqlite.file_system(place / "new" / "file.db") == kind
    assert sqlite.file_system(tmp_path / "a place beside") == "ext4"
    sqlite.keep_log(place / "file.db")
    with contextlib.closing(sqlite3.connect(place / "file.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    assert mode(place / "file.db") == expected


def test_a_system_without_a_list_of_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_MOUNTS", tmp_path / "none")
    assert sqlite.file_system(tmp_path) is None
