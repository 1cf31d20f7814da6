"""Before a release: one study whose driver is killed at ten random moments (make test-release)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from search.study.records import curve
from tests.search.conftest import write_study
from tests.search.launches import assert_whole, mlflow_runs, progress, start, trials, wait_until

pytestmark = [pytest.mark.release, pytest.mark.timeout(7200)]

KILLS = 10
METHODS = ("head_only", "prompt_tuning")


def test_kill_9_at_ten_random_moments(study: dict[str, Any], tmp_path: Path) -> None:
    """The driver and all it started, from its first seconds to the scoring of finalists; what was there stays as it was."""
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in METHODS}
    study["training"] = {**study["training"], "max_steps": 1500, "eval_steps": 75}
    study["search"] = {"trials_per_method": 6, "early_stopping": False}
    study["cluster"] = {"max_concurrent_trials": 2}
    write_study(study, tmp_path)
    draw = random.Random(20)
    killed, in_mid_trial = 0, 0
    before, runs = trials(tmp_path), set[str]()
    while killed < KILLS:
        trained = progress(tmp_path)
        process = start("launch", "study.yaml", cwd=tmp_path)
        if draw.random() < 0.3:
            moment = draw.uniform(2, 15)  # perhaps before anything is trained
        else:
            wait_until(trained, process, 600)
            moment = draw.uniform(0, 4)
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(
                f"the study ended with {process.wait(moment)} after {killed} kills: give it more to do"
            )
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
        now = trials(tmp_path)
        for where, trial in before.items():
            assert now[where].params == trial.params or trial.state == TrialState.WAITING
            assert curve(trial).items() <= curve(now[where]).items()
            if trial.state.is_finished():
                assert now[where].values == trial.values
        in_mid_trial += any(t.state == TrialState.RUNNING and curve(t) for t in now.values())
        known = set(mlflow_runs(tmp_path))
        assert runs <= known
        before, runs = now, known
        print(f"kill {killed}: {len(now)} trials, {sum(t.state.is_finished() for t in now.values())} ended")
    assert in_mid_trial >= KILLS // 2, "most kills are to hit trials"

    process = start("launch", "study.yaml", cwd=tmp_path)
    assert process.wait(1800) == 0, (tmp_path / "launch.log").read_text()
    assert_whole(tmp_path, METHODS, each=6)
    assert runs <= set(mlflow_runs(tmp_path)), "the runs are the same ones"
    resumed = [trial for trial in trials(tmp_path).values() if "resumed" in trial.user_attrs]
    assert resumed, "interrupted trials went on from their checkpoints"
