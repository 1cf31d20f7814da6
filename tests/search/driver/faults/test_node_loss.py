"""A worker process is killed and a node is removed: three raylets on this machine, two of them with a GPU, as they say."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from search.study.readings import curve
from tests.search.conftest import write_study
from tests.search.launches import assert_whole, mlflow_runs, report, run, start, trials, wait_until

pytestmark = pytest.mark.timeout(400)

METHODS = ("head_only", "prompt_tuning")
EVAL_STEPS, MAX_STEPS = 60, 600


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without a GPU, and two nodes with one each; a node that is gone is missed after ten seconds (a busy machine would lose others sooner)."""
    small = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    health = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 1000,
        "health_check_failure_threshold": 10,
    }
    head = {**small, "num_cpus": 1, "num_gpus": 0, "_system_config": health}
    found = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        found.add_node(num_cpus=1, num_gpus=1, **small)
    yield found
    found.shutdown()


@pytest.fixture
def folder(study: dict[str, Any], tmp_path: Path, cluster: Cluster) -> Path:
    """A study with one trial at a time, on a GPU."""
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in METHODS}
    study["training"] = {**study["training"], "max_steps": MAX_STEPS, "eval_steps": EVAL_STEPS}
    study["search"] = {"trials_per_method": 2, "early_stopping": False}
    study["cluster"] = {"address": cluster.address, "max_concurrent_trials": 1}
    write_study(study, tmp_path)
    return tmp_path


def worker(cluster: Cluster) -> tuple[Any, int]:
    """The node on which the trial runs, and the trial's process."""
    for node in cluster.worker_nodes:
        (raylet,) = (info.process.pid for info in node.all_processes["raylet"])
        for process in psutil.Process(raylet).children():
            if process.name().startswith("ray::Impl"):  # Tune's name for a function that trains
                return node, process.pid
    raise AssertionError("no trial runs")


class Halfway:
    """Whether a trial of prompt_tuning is running that has come some way and has some to go, and was not seen before.

    One of head_only would end before its worker can be looked up: its features are computed once.

    Attributes:
        where: study and number of the trial.
        step: to which it has come.
    """

    def __init__(self, folder: Path, seen: tuple[str, int] | None = None) -> None:
        self._folder, self._seen = folder, seen
        self.where: tuple[str, int] = ("", -1)
        self.step = 0

    def __call__(self) -> bool:
        for where, trial in trials(self._folder).items():
            done = curve(trial) if where[0] == "tiny/prompt_tuning" else {}
            if trial.state == TrialState.RUNNING and where != self._seen and 1 <= len(done) <= 7:
                self.where, self.step = where, max(done)
                return True
        return False


@pytest.mark.slow
def test_gpu_hours_end_4(folder: Path) -> None:
    code, output = run("launch", "study.yaml", "--set", "search.max_gpu_hours=0.0002", cwd=folder)
    assert code == 4, output
    assert "search.max_gpu_hours is used up" in output
    assert report(folder)["partial"]
    assert "RUNNING" not in mlflow_runs(folder).values()


@pytest.mark.slow
def test_a_trial_goes_on_elsewhere_from_its_checkpoint(folder: Path, cluster: Cluster) -> None:
    process = start("launch", "study.yaml", cwd=folder)
    killed = Halfway(folder)
    wait_until(killed, process)
    os.kill(worker(cluster)[1], signal.SIGKILL)

    bereft = Halfway(folder, killed.where)
    wait_until(bereft, process)
    lost = worker(cluster)[0]  # at once: the trial goes on
    runs = set(mlflow_runs(folder))
    cluster.remove_node(lost, allow_graceful=False)
    assert process.wait(300) == 0, (folder / "launch.log").read_text()

    said = (folder / "launch.log").read_text()
    assert "(raylet)" not in said, "Ray's own words are in the study's log"
    assert said.count("was lost: ") == 2
    assert_whole(folder, METHODS, each=2)
    assert runs <= set(mlflow_runs(folder)), "the runs are the same ones"
    for cut in (killed, bereft):
        (step,) = trials(folder)[cut.where].user_attrs["resumed"]
        assert cut.step <= step < MAX_STEPS, "what had been evaluated is not done again"
    assert trials(folder)[bereft.where].state == TrialState.COMPLETE
    others = [trial for where, trial in trials(folder).items() if where not in (killed.where, bereft.where)]
    assert not any("resumed" in trial.user_attrs for trial in others)


@pytest.mark.release
def test_a_trial_that_gets_on_may_be_lost_often(folder: Path, cluster: Cluster) -> None:
    """As on machines that are taken away at any time: five times, of which no two are in one evaluation interval."""
    longer = ("--set", "training.max_steps=6000", "--set", "training.eval_steps=400")
    process = start("launch", "study.yaml", "--set", "search.trials_per_method=1", *longer, cwd=folder)
    where, step = ("tiny/prompt_tuning", 0), 0
    for _ in range(5):

        def further() -> bool:
            found = trials(folder).get(where)
            return found is not None and max(curve(found), default=0) > step  # noqa: B023

        wait_until(further, process)
        step = max(curve(trials(folder)[where]))
        os.kill(worker(cluster)[1], signal.SIGKILL)
    assert process.wait(300) == 0, (folder / "launch.log").read_text()
    lost = trials(folder)[where]
    assert lost.state == TrialState.COMPLETE
    assert len(lost.user_attrs["resumed"]) == 5
    assert_whole(folder, METHODS, each=1)
