"""Launches as processes of their own, and what they leave: what tests of interruptions and faults share."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from search.study.readings import curve

PROGRAM = [sys.executable, "-c", "from search.cli.main import main; main()"]
METHODS = ("head_only", "prompt_tuning", "p_tuning_v2")


def start(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """A command that goes on; what it prints is in `launch.log`."""
    with (cwd / "launch.log").open("a") as log:
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=cwd,
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def run(*arguments: str, cwd: Path, seconds: float = 500, **environment: str) -> tuple[int, str]:
    """Exit code of a command, and what it printed."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def mlflow_runs(folder: Path, database: str = "outputs/mlflow.db") -> dict[str, str]:
    """Status of every run by its id; none while the database is made."""
    if not (folder / database).exists():
        return {}
    with contextlib.closing(sqlite3.connect(folder / database)) as connection:
        if not connection.execute("select 1 from sqlite_master where name = 'runs'").fetchall():
            return {}
        return dict(connection.execute("select run_uuid, status from runs where lifecycle_stage = 'active'"))


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "outputs/tiny/report/report.json").read_text())
    return content


def trials(folder: Path, storage: str | None = None) -> dict[tuple[str, int], FrozenTrial]:
    """Every trial as Optuna has it, by the name of its Optuna study and its number; none while the database is made."""
    url = storage or f"sqlite:///{folder}/outputs/optuna.db"
    try:
        names = optuna.get_all_study_names(url)
        return {
            (name, trial.number): trial
            for name in names
            for trial in optuna.load_study(study_name=name, storage=url).trials
        }
    except Exception:
        if (folder / "outputs/tiny/report/report.json").exists():
            raise
        return {}


def outcomes(folder: Path, output_dir: str) -> tuple[Any, Any]:
    """What every trial tried and scored, and the recommended method."""
    found = trials(folder, f"sqlite:///{folder}/{output_dir}/optuna.db")
    content = json.loads((folder / output_dir / "tiny/report/report.json").read_text())
    scored = {where: (each.params, each.values, each.state) for where, each in found.items()}
    return scored, content["verdict"]["method"]


def states(folder: Path, storage: str | None = None) -> Counter[str]:
    """States of the search trials."""
    found = trials(folder, storage).items()
    return Counter(trial.state.name for (name, _), trial in found if not name.endswith("/finalists"))


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 200) -> None:
    """Until something holds of a study that runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the study ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.2)


def some_ended(folder: Path, count: int, storage: str | None = None) -> Callable[[], bool]:
    def condition() -> bool:
        found = states(folder, storage)
        return found["COMPLETE"] + found["PRUNED"] >= count

    return condition


def progress(folder: Path, storage: str | None = None) -> Callable[[], bool]:
    """Whether trials have been evaluated since this was called."""

    def count() -> int:
        return sum(len(curve(trial)) for trial in trials(folder, storage).values())

    before = count()
    return lambda: count() > before


def assert_whole(
    folder: Path,
    methods: Collection[str] = METHODS,
    each: int = 3,
    storage: str | None = None,
    database: str = "outputs/mlflow.db",
) -> None:
    """Every planned trial is there once, and ended, in Optuna, in the report and in MLflow."""
    content = report(folder)
    assert not content["partial"]
    assert sorted((t["method"], t["number"]) for t in content["trials"]) == sorted(
        (method, number) for method in methods for number in range(each)
    )
    kept = trials(folder, storage)
    assert all(trial.state.is_finished() for trial in kept.values())
    for name in {name for name, _ in kept}:
        numbers = sorted(number for other, number in kept if other == name)
        assert numbers == list(range(len(numbers)))
    settings = yaml.safe_load((folder / "outputs/tiny/config.yaml").read_text())["training"]
    interval, last = settings["eval_steps"], settings["max_steps"]
    for where, trial in kept.items():
        if trial.state == TrialState.COMPLETE:
            assert list(curve(trial)) == list(range(interval, last + 1, interval)), where
    runs = mlflow_runs(folder, database)
    assert set(runs.values()) <= {"FINISHED", "KILLED", "FAILED"}
    ids = [t["mlflow_run_id"] for t in content["trials"]]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(runs)
    finalists = [f for m in content["methods"] for f in m["finalists"]]
    assert len(runs) == len(ids) + sum(len(f["seeds"]) for f in finalists) + 1, (
        "one run a trial, and the study's"
    )
    scored = list((folder / "outputs/tiny/predictions").glob("*.parquet"))
    tested = [f["test"] or f["raced"] for f in finalists if f["test"] or f["raced"]]
    assert len(scored) == sum(len(f["values"]) for f in tested) + 1, "and the trivial answer"
    for method in content["methods"]:
        (chosen,) = (f for f in method["finalists"] if f["chosen"])
        assert len(chosen["test"]["values"]) == len(chosen["seeds"]) == 2
