"""Before a release: 100 kills at random moments over one study (make test-release). PROMPTFRONT_KILLS sets another number."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import TrialState

from search.errors import StorageError
from search.study.readings import curve
from tests.search.conftest import write_study
from tests.search.launches import assert_whole, mlflow_runs, outcomes, progress, run, start, trials

pytestmark = [pytest.mark.release, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("PROMPTFRONT_KILLS", "100"))
METHODS = ("head_only", "prompt_tuning")
VICTIMS = {"launch": 2, "driver": 2, "worker": 4, "raylet": 1, "gcs_server": 1}
"""How often each is drawn. A launch dies with all that it started; a driver alone is what its launch has to outlive."""
EARLY = 0.25
"""Share of the kills that do not wait until something is trained."""


def victims(launch: subprocess.Popen[str], what: str) -> list[psutil.Process]:
    """The processes of a launch that are of one sort."""
    with contextlib.suppress(psutil.NoSuchProcess):
        mine = psutil.Process(launch.pid)
        if what == "launch":
            return [mine]
        if what == "driver":
            return mine.children()
        names = {process: process.name() for process in mine.children(recursive=True)}
        wanted = "ray::Implicit" if what == "worker" else what  # Tune's name for a function that trains
        return [process for process, name in names.items() if name.startswith(wanted)]
    return []


def test_a_hundred_random_kills(study: dict[str, Any], tmp_path: Path) -> None:
    """From the first seconds to the scoring of finalists: nothing is lost or doubled, and the results are those of no kill."""
    study["methods"] = {name: study["methods"][name] for name in METHODS}
    study["training"] = {**study["training"], "max_steps": 25 * KILLS, "eval_steps": KILLS}
    # What a model of the trials proposes depends on which of two trials at once ends first (one at a time: test_node_loss).
    study["search"] = {"trials_per_method": 6, "early_stopping": False, "sampler": "random"}
    study["finalists"] = {"num_seeds": 2, "max_seeds": 2}
    study["cluster"] = {"max_concurrent_trials": 2}
    write_study(study, tmp_path)
    code, said = run("launch", "study.yaml", "--set", "output_dir=quiet", cwd=tmp_path, seconds=3600)
    assert code == 0, said

    draw = random.Random(20)
    killed, ends = Counter[str](), Counter[int]()
    in_mid_trial = 0
    before, runs = trials(tmp_path), set[str]()
    launch = start("launch", "study.yaml", "--set", "output_dir=outputs", cwd=tmp_path)
    while killed.total() < KILLS:
        what = draw.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        trained, early, moment = progress(tmp_path), draw.random() < EARLY, draw.uniform(0, 2)
        while launch.poll() is None and not ((early or trained()) and victims(launch, what)):
            time.sleep(0.2)
        time.sleep(moment)
        with contextlib.suppress(psutil.NoSuchProcess):
            if there := victims(launch, what):
                draw.choice(there).kill()
                killed[what] += 1
        if what == "launch":
            launch.wait()
        if launch.poll() is not None:
            ends[launch.returncode] += 1
            assert launch.returncode in (-signal.SIGKILL, StorageError.exit_code), (
                f"ended with {launch.returncode} after {killed.total()} kills: give it more to do"
            )
            launch = start("launch", "study.yaml", "--set", "output_dir=outputs", cwd=tmp_path)
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
        print(f"{dict(killed)}: {len(now)} trials, {sum(t.state.is_finished() for t in now.values())} ended")
    assert in_mid_trial >= KILLS // 2, "most kills are to hit trials"

    while launch.wait(3600) == StorageError.exit_code:
        ends[launch.returncode] += 1
        launch = start("launch", "study.yaml", "--set", "output_dir=outputs", cwd=tmp_path)
    assert launch.returncode == 0, (tmp_path / "launch.log").read_text()
    assert_whole(tmp_path, METHODS, each=6)
    assert runs <= set(mlflow_runs(tmp_path)), "the runs are the same ones"
    resumed = [trial for trial in trials(tmp_path).values() if "resumed" in trial.user_attrs]
    assert outcomes(tmp_path, "quiet") == outcomes(tmp_path, "outputs")
    print(
        f"{killed.total()} kills ({dict(killed)}); launches that ended: {dict(ends)}; trials resumed: {len(resumed)}"
    )
