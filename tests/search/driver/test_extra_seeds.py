"""Extra seeds in real launches: what decides is made up, all else is real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from search.driver.supervisor import SUPERVISED
from tests.search.conftest import write_study
from tests.search.launches import mlflow_runs, report, trials, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = """
from dashboards.findings import more_seeds
answers = iter({answers!r})
more_seeds.undecided = lambda rows: next(answers)
from search.cli.main import main
main()
"""
TWO = ["head_only", "prompt_tuning"]


@pytest.fixture
def folder(study: dict[str, Any], tmp_path: Path) -> Path:
    """Two methods of two trials, two seeds, and looks at 2, 4 and 5."""
    study["output_dir"] = "outputs"
    study["methods"] = {
        "head_only": {"learning_rate": [0.01, 0.1]},
        "prompt_tuning": {"num_virtual_tokens": [2, 3]},
    }
    study["search"] = {"trials_per_method": 2, "early_stopping": False}
    study["finalists"] = {"num_seeds": 2, "max_seeds": 5, "epsilon": 0.0}
    write_study(study, tmp_path)
    return tmp_path


def start(folder: Path, answers: list[list[str]], *overrides: str) -> subprocess.Popen[str]:
    """A launch in which the methods that cannot be told apart are those of each answer, asked once each."""
    command = [sys.executable, "-c", PROGRAM.format(answers=answers), "launch", "study.yaml"]
    with (folder / "launch.log").open("w") as log:
        return subprocess.Popen(
            [*command, *(word for override in overrides for word in ("--set", override))],
            cwd=folder,
            # watched already: a supervisor would start a process that knows nothing of the answers
            env=os.environ | {SUPERVISED: "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def launch(folder: Path, answers: list[list[str]], *overrides: str) -> tuple[int, str]:
    code = start(folder, answers, *overrides).wait(400)
    return code, (folder / "launch.log").read_text()


def seeds(folder: Path) -> dict[str, tuple[int, int]]:
    """How many seeds each method's chosen finalist has, and how many of them have a test score."""
    return {
        method["method"]: (len(chosen["seeds"]), len((chosen["test"] or {"values": []})["values"]))
        for method in report(folder)["methods"]
        for chosen in method["finalists"]
        if chosen["chosen"]
    }


def test_seeds_are_added_until_methods_can_be_told_apart(folder: Path) -> None:
    code, output = launch(folder, [TWO, []])
    assert code == 0, output
    assert (
        "Cannot tell head_only and prompt_tuning apart with 2 seeds: training them with 2 more ..." in output
    )
    assert "Seeds of the finalists: 4 for head_only and prompt_tuning." in output
    assert seeds(folder) == dict.fromkeys(TWO, (4, 4))
    content = report(folder)
    assert content["test_readings"] == 2
    assert not content["partial"]
    assert len(mlflow_runs(folder)) == 4 + 2 * (4 + 2) + 1, "one run a trial, and the study's"
    predictions = {path.stem for path in (folder / "outputs/tiny/predictions").glob("*.parquet")}
    assert len(predictions) == 2 * (4 + 2) + 1
    assert "trivial" in predictions
    groups = pd.read_parquet(folder / "outputs/tiny/predictions/trivial.parquet")["group"]
    assert groups.isna().all(), "the study names no group"

    code, output = launch(folder, [])
    assert code == 0, output
    assert "Nothing to do" in output
    code, output = launch(folder, [["prompt_tuning"]], "finalists.max_seeds=6")
    assert code == 0, output
    assert "Cannot tell prompt_tuning from the others with 4 seeds: training it with 2 more ..." in output
    assert "Seeds of the finalists: 6 for prompt_tuning, 4 for head_only." in output
    assert seeds(folder) == {"head_only": (4, 4), "prompt_tuning": (6, 6)}
    assert report(folder)["test_readings"] == 3


@pytest.mark.release
def test_a_decision_outlives_a_limit_and_a_kill(folder: Path) -> None:
    """Of 4 trials, 8 runs and 2 times 2 extra seeds, one extra seed is trained before the limit."""
    slow = ("training.max_steps=200", "training.eval_steps=20", "cluster.max_concurrent_trials=1")
    code, output = launch(folder, [TWO], *slow, "search.max_trials=13")
    assert code == 4, output
    assert "search.max_trials is used up" in output
    assert report(folder)["partial"]
    assert seeds(folder) == dict.fromkeys(TWO, (2, 2)), "the report has what was scored"

    before = trials(folder)
    process = start(folder, [], *slow)
    wait_until(lambda: any(t.state.name == "RUNNING" for t in trials(folder).values()), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, output = launch(folder, [[]], *slow)
    assert code == 0, output
    assert "Cannot tell" not in output, "nothing was decided again"
    assert seeds(folder) == dict.fromkeys(TWO, (4, 4))
    after = trials(folder)
    ended = {where for where, trial in before.items() if trial.state.is_finished()}
    assert all(after[where].values == before[where].values for where in ended)
    assert report(folder)["test_readings"] == 2
