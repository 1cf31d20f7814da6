"""The servers of a local Ray are killed, and signals reach a whole process group: the launch goes on, or ends cleanly."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.search.conftest import write_study
from tests.search.launches import assert_whole, progress, start, wait_until

pytestmark = [pytest.mark.release, pytest.mark.timeout(600)]

METHODS = ("head_only", "prompt_tuning")


@pytest.fixture
def folder(study: dict[str, Any], tmp_path: Path) -> Path:
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in METHODS}
    study["training"] = {**study["training"], "max_steps": 200, "eval_steps": 20}
    study["search"] = {"trials_per_method": 3, "early_stopping": False}
    study["finalists"] = {"num_seeds": 2, "max_seeds": 2}
    write_study(study, tmp_path)
    return tmp_path


def processes(launch: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(launch.pid).children(recursive=True)


def started(server: str, launch: subprocess.Popen[str], before: set[int]) -> psutil.Process:
    """One of Ray's servers, once the launch has started another than those `before`."""
    deadline = time.monotonic() + 300
    while launch.poll() is None and time.monotonic() < deadline:
        for process in processes(launch):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since it was listed
                if process.pid not in before and process.name() == server:
                    return process
        time.sleep(0.05)
    raise AssertionError(f"no {server} has started: {launch.poll()}")


def left(numbers: set[int]) -> list[psutil.Process]:
    """The processes with these numbers that are alive."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid in numbers and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_a_launch_outlives_its_ray(folder: Path) -> None:
    """Before, it hung for good without its raylet, and was ended without a word without its GCS."""
    launch = start("launch", "study.yaml", cwd=folder)
    session = set[int]()
    for server in ("raylet", "gcs_server"):
        found = started(server, launch, session)
        wait_until(progress(folder), launch, 300)
        session |= {process.pid for process in processes(launch)}
        found.kill()
    assert launch.wait(400) == 0, (folder / "launch.log").read_text()
    said = (folder / "launch.log").read_text()
    assert said.count("Ray has died; starting again") == 2
    assert "Traceback" not in said
    assert_whole(folder, METHODS, each=3)
    assert not left(session)


def test_a_launch_outlives_a_ray_that_does_not_start(folder: Path) -> None:
    """Before, it waited for 30 s and ended with Ray's traceback."""
    launch = start("launch", "study.yaml", cwd=folder)
    killed = set[int]()
    for server in ("raylet", "gcs_server"):
        started(server, launch, killed).kill()
        killed |= {process.pid for process in processes(launch)}
    assert launch.wait(400) == 0, (folder / "launch.log").read_text()
    said = (folder / "launch.log").read_text()
    assert said.count("starting again") == 2
    assert "Traceback" not in said
    assert_whole(folder, METHODS, each=3)
    assert not left(killed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_cleanly(folder: Path, number: signal.Signals) -> None:
    """As `timeout`, systemd, Slurm and a closing terminal send it. Before, the driver died later, without report or word."""
    launch = start("launch", "study.yaml", cwd=folder)
    wait_until(progress(folder), launch, 300)
    mine = {process.pid for process in processes(launch)}
    os.killpg(launch.pid, number)
    assert launch.wait(120) == 130, (folder / "launch.log").read_text()
    said = (folder / "launch.log").read_text()
    assert "Interrupted; nothing is lost" in said
    assert (folder / "outputs/tiny/report/report.json").exists()
    assert not left(mine)
