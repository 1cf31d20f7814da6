"""Several trials in one engine, on a real Ray: the same results as in processes of their own, also if an engine is killed."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from search.config import study_file
from search.driver.engines import Host
from search.study.readings import curve
from search.study.records import Key
from search.study.study import Assignment
from tests.search.conftest import write_study
from tests.search.launches import assert_whole, progress, run, start, trials

FIXED = {"head_learning_rate": 0.01, "readout": "mean"}
METHODS = {
    "head_only": {"learning_rate": [0.003, 0.01, 0.03, 0.1], "readout": "mean"},
    "prompt_tuning": {**FIXED, "num_virtual_tokens": [2, 3, 4, 5], "learning_rate": 0.03, "init": "vocab"},
    "p_tuning_v2": {**FIXED, "num_virtual_tokens": [2, 3], "learning_rate": [0.01, 0.1], "init": "matched"},
    "lora": {**FIXED, "r": 2, "learning_rate": [0.001, 0.002, 0.003, 0.004]},
}
EACH = 4


def write(study: dict[str, Any], folder: Path, steps: int, names: Sequence[str] = tuple(METHODS)) -> None:
    """A grid, whose trials do not depend on which of two ends first."""
    study["methods"] = {name: METHODS[name] for name in names}
    study["search"] = {"trials_per_method": EACH, "early_stopping": False, "sampler": "grid"}
    study["training"] = {**study["training"], "max_steps": steps, "eval_steps": steps // 5}
    study["finalists"] = {"num_seeds": 2, "max_seeds": 2}
    write_study(study, folder)


def assert_same(folder: Path, one: str, other: str) -> None:
    """Losses of the first 50 steps are equal, and scores within two rows of validation."""
    mine, theirs = (trials(folder, f"sqlite:///{folder}/{name}/optuna.db") for name in (one, other))
    assert mine.keys() == theirs.keys()
    for where, trial in mine.items():
        if where[0].endswith("/finalists"):
            continue
        assert trial.params == theirs[where].params, where
        for (step, found), (_, expected) in zip(
            curve(trial).items(), curve(theirs[where]).items(), strict=True
        ):
            if step <= 50:
                assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4), (where, step)
            assert found["validation"] == pytest.approx(expected["validation"], abs=2 / 30 + 1e-9), (
                where,
                step,
            )


def engines(launch: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of its engines."""
    return [
        each
        for each in psutil.Process(launch.pid).children(recursive=True)
        if each.name().startswith("ray::Host")
    ]


@pytest.mark.release
@pytest.mark.timeout(1500)
def test_engines_as_processes_of_their_own(study: dict[str, Any], tmp_path: Path) -> None:
    write(study, tmp_path, 50)
    for name, together in (("alone", 1), ("outputs", 4)):
        given = ["--set", f"output_dir={name}", "--set", f"cluster.trials_per_gpu={together}"]
        code, said = run("launch", "study.yaml", *given, cwd=tmp_path)
        assert code == 0, said
    assert_whole(tmp_path, list(METHODS), EACH)
    assert_same(tmp_path, "outputs", "alone")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_an_engine_that_is_killed_loses_nothing(study: dict[str, Any], tmp_path: Path) -> None:
    """Its trials go on from their checkpoints, under the same numbers; a killed launch leaves no engine behind."""
    names = ["prompt_tuning", "lora"]
    write(study, tmp_path, 200, names)
    code, said = run("launch", "study.yaml", "--set", "output_dir=alone", cwd=tmp_path)
    assert code == 0, said
    launch = start("launch", "study.yaml", "--set", "cluster.trials_per_gpu=4", cwd=tmp_path)
    for kill in range(3):
        trained = progress(tmp_path)
        while launch.poll() is None and not (trained() and engines(launch)):
            time.sleep(0.2)
        if launch.poll() is None:
            left = engines(launch)
            if kill < 2:
                left[kill % len(left)].kill()
            else:
                launch.kill()
                launch.wait()
                _, alive = psutil.wait_procs(left, timeout=60)
                assert not alive, "the engines of a launch that was killed"
    assert "were lost in a row" not in (tmp_path / "launch.log").read_text(), (
        "an engine that ends is one loss"
    )
    code, said = run("launch", "study.yaml", "--set", "cluster.trials_per_gpu=4", cwd=tmp_path)
    assert code == 0, said
    assert_whole(tmp_path, names, EACH)
    assert_same(tmp_path, "outputs", "alone")


def test_one_report_at_a_time_and_nobody_waits_for_who_is_gone(study: dict[str, Any], tmp_path: Path) -> None:
    """A trial whose last report was not passed on writes no further checkpoint, since only the last one's report is made again."""
    config = study_file.load(write_study(study, tmp_path))
    jobs = {
        name: Assignment(
            Key("prompt_tuning", "search", number), {"num_virtual_tokens": 2}, {"topics": 1.0}, number
        ).job(config)
        for number, name in enumerate(("deaf", "hears"))
    }
    host = Host(config.model_dump_json())
    for name, job in jobs.items():
        host.attach(name, job.to_dict())
    first = host.next("deaf")
    assert first is not None
    assert first["step"] == 2
    steps = list[int]()

    def listen() -> None:
        while (report := host.next("hears")) is not None:
            steps.append(report["step"])

    listener = threading.Thread(target=listen)
    listener.start()
    listener.join(5)
    folder = Path(jobs["deaf"].folder)
    assert [path.name for path in folder.glob("*.safetensors")] == ["step-00000002.safetensors"]
    host.detach("deaf")
    listener.join(60)
    assert steps == [2, 4, 6]
    assert not (folder / "step-00000006.safetensors").exists()


def test_why_a_job_ended_is_its_last_report(study: dict[str, Any], tmp_path: Path) -> None:
    config = study_file.load(write_study(study, tmp_path))
    values = {"num_virtual_tokens": 2, "learning_rate": 1e30}
    job = Assignment(Key("prompt_tuning", "search", 0), values, {"topics": 1.0}, 0).job(config)
    host = Host(config.model_dump_json())
    host.attach("one", job.to_dict())
    reports = list(iter(lambda: host.next("one"), None))
    assert reports
    assert reports[-1]["error"].startswith("diverged: ")
    (tmp_path / "file").write_text("no folder")
    shut = {**job.to_dict(), "config": {"num_virtual_tokens": 2}, "folder": str(tmp_path / "file" / "in-it")}
    host.attach("two", shut)
    (last,) = iter(lambda: host.next("two"), None)
    assert last["stops_study"]
    assert "in-it" in last["error"]
