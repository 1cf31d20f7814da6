"""Before a release: what a disk and other programs do to a study's files while it runs (make test-release)."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.search.conftest import write_study
from tests.search.launches import (
    assert_whole,
    mlflow_runs,
    outcomes,
    progress,
    run,
    some_ended,
    start,
    states,
    wait_until,
)

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

TWO = ("head_only", "prompt_tuning")
SECONDS = 60


@pytest.fixture
def folder(study: dict[str, Any], tmp_path: Path) -> Path:
    """A study of two methods, all of whose trials run to their end, and none of which depends on which one ends first."""
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in TWO}
    study["search"] = {"trials_per_method": 4, "early_stopping": False, "sampler": "random"}
    study["training"] = {**study["training"], "max_steps": 300, "eval_steps": 30}
    study["finalists"] = {"num_seeds": 2, "max_seeds": 2}
    write_study(study, tmp_path)
    return tmp_path


def test_a_database_that_another_program_locks_is_waited_for(folder: Path) -> None:
    process = start("launch", "study.yaml", cwd=folder)
    wait_until(some_ended(folder, 1), process)
    lock = sqlite3.connect(folder / "outputs/optuna.db", isolation_level=None)
    lock.execute("begin exclusive")
    time.sleep(SECONDS)
    assert process.poll() is None
    lock.execute("rollback")
    lock.close()
    said = folder / "launch.log"
    assert process.wait(300) == 0, said.read_text()
    assert "Traceback" not in said.read_text()
    assert_whole(folder, TWO, each=4)


def test_a_removed_tracking_database_costs_no_result(folder: Path) -> None:
    process = start("launch", "study.yaml", cwd=folder)
    wait_until(lambda: some_ended(folder, 2)() and mlflow_runs(folder), process)
    for name in ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm"):
        (folder / "outputs" / name).unlink(missing_ok=True)
    assert process.wait(300) == 0, (folder / "launch.log").read_text()
    assert "Traceback" not in (folder / "launch.log").read_text()
    code, said = run("launch", "study.yaml", cwd=folder)
    assert code == 0, said
    assert_whole(folder, TWO, each=4)


@pytest.mark.parametrize("cut", [1, 2], ids=["the last", "both"])
def test_a_checkpoint_that_was_cut_changes_no_result(folder: Path, cut: int) -> None:
    code, said = run("launch", "study.yaml", "--set", "output_dir=quiet", cwd=folder)
    assert code == 0, said
    process = start("launch", "study.yaml", cwd=folder)
    wait_until(lambda: states(folder)["RUNNING"] == 2, process)
    for _ in range(3):
        wait_until(progress(folder), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    damaged = 0
    for checkpoints in {path.parent for path in (folder / "outputs").rglob("step-*.safetensors")}:
        for path in sorted(checkpoints.glob("step-*"))[-cut:]:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            damaged += 1
    assert damaged
    code, said = run("launch", "study.yaml", cwd=folder)
    assert code == 0, said
    assert outcomes(folder, "outputs") == outcomes(folder, "quiet")
