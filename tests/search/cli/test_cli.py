"""The command line: help, exit codes, errors that say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.config import study_file
from search.study.study import Study
from tests.search.conftest import write_study

COMMANDS = (
    *("init", "check", "launch", "methods", "cluster", "doctor"),
    *("status", "logs", "stop", "report", "export", "ui"),
)


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from search.cli.main import main; main()", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"Example: promptfront {command}" in " ".join(done.stdout.split())


def test_init_writes_a_file_that_check_reads(tmp_path: Path) -> None:
    assert run("init", "mine.yaml", cwd=tmp_path).returncode == 0
    assert "study: mine" in (tmp_path / "mine.yaml").read_text()
    again = run("init", "mine.yaml", cwd=tmp_path)
    assert again.returncode != 0
    assert "already exists" in again.stderr


def test_check_prints_the_plan(study: dict[str, Any], tmp_path: Path) -> None:
    write_study(study, tmp_path)
    done = run("check", "study.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("head_only", "prompt_tuning", "p_tuning_v2", "deployed"):
        assert word in done.stdout


def test_every_mistake_is_named_at_once(study: dict[str, Any], tmp_path: Path) -> None:
    study["methods"]["promt_tuning"] = {}
    study["search"]["trails_per_method"] = 3
    study["tasks"][0]["label"] = "lable"
    write_study(study, tmp_path)
    done = run("launch", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "promt_tuning" in done.stderr
    assert "did you mean" in done.stderr
    assert "trials_per_method" in done.stderr
    assert not (tmp_path / "outputs").exists(), "nothing was started"


@pytest.mark.parametrize("command", ["report", "export", "status", "logs", "stop"])
def test_a_study_that_is_not_there(command: str, tmp_path: Path) -> None:
    done = run(command, "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert "no study 'nothing'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_storage_out_of_reach_ends_5(study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    study["tracking"] = {"storage": f"sqlite:///{tmp_path}/file/optuna.db"}
    write_study(study, tmp_path)
    done = run("launch", "study.yaml", cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr


def test_an_mlflow_out_of_reach_ends_5(study: dict[str, Any], tmp_path: Path) -> None:
    study["tracking"] = {"mlflow_uri": f"sqlite:///{tmp_path}/study.yaml/mlflow.db"}
    write_study(study, tmp_path)
    done = run("launch", "study.yaml", cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr


def test_methods_lists_them_with_their_ranges() -> None:
    done = run("methods")
    assert done.returncode == 0
    for word in ("prompt_tuning", "p_tuning_v2", "head_only", "num_virtual_tokens", "0.001 to 0.3, log"):
        assert word in done.stdout


def test_status_without_a_study(tmp_path: Path) -> None:
    done = run("status", cwd=tmp_path)
    assert done.returncode == 0
    assert "There is no study" in done.stdout


@pytest.mark.parametrize("command", ["check", "launch"])
def test_over_jobs_results_need_a_place_that_is_kept(
    command: str, study: dict[str, Any], tmp_path: Path
) -> None:
    study["output_dir"] = "outputs"
    study["tracking"] = {"storage": "sqlite:///optuna.db", "mlflow_uri": "sqlite:///mlflow.db"}
    write_study(study, tmp_path)
    done = run(command, "study.yaml", "--address", "http://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 2
    for place in (
        "output_dir: must be an absolute path with Ray Jobs",
        "tracking.storage:",
        "tracking.mlflow_uri:",
    ):
        assert place in done.stderr
    assert "a job's working directory is temporary" in done.stderr


@pytest.mark.parametrize(
    "command", [("init", "/proc/none/study.yaml"), ("cluster", "local", "--out", "/proc/none/up.sh")]
)
def test_a_place_that_cannot_be_written_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No such file or directory: '/proc/none" in done.stderr


def test_a_bucket_is_no_folder(study: dict[str, Any], tmp_path: Path) -> None:
    study["output_dir"] = "s3://bucket/outputs"
    write_study(study, tmp_path)
    done = run("check", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "output_dir: must be a folder of the driver's machine" in done.stderr
    assert "tracking.checkpoints" in done.stderr


def test_ray_client_is_refused_with_what_to_do(study: dict[str, Any], tmp_path: Path) -> None:
    write_study(study, tmp_path)
    done = run("launch", "study.yaml", "--address", "ray://head.example:10001", cwd=tmp_path)
    assert done.returncode == 2
    assert "--address http://head.example:8265" in done.stderr


def test_a_cluster_out_of_reach_ends_5(study: dict[str, Any], tmp_path: Path) -> None:
    write_study(study, tmp_path)
    done = run("launch", "study.yaml", "--address", "http://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "no Ray dashboard answers at http://127.0.0.1:1" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_logs_are_for_studies_that_were_submitted(study: dict[str, Any], tmp_path: Path) -> None:
    write_study(study, tmp_path)
    done = run("logs", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "was not submitted through Ray Jobs" in done.stderr


def test_cluster_writes_a_file_once(tmp_path: Path) -> None:
    assert "kuberay: a RayJob" in run("cluster").stdout
    assert run("cluster", "local", "--set", "nodes=3", "--out", "cluster.sh", cwd=tmp_path).returncode == 0
    assert "nodes=3" in (tmp_path / "cluster.sh").read_text()
    assert run("cluster", "local", "--out", "cluster.sh", cwd=tmp_path).returncode == 1
    missing = run("cluster", "aws", "--out", "aws.yaml", cwd=tmp_path)
    assert missing.returncode == 2
    assert "region: where the machines are" in missing.stderr


def test_the_doctor_says_ten_lines(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path, MLFLOW_TRACKING_URI="postgresql://me:secret@host/runs")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "promptfront", "packages", "torch", "cores", "memory", "disk", "Ray", "stores", "ports", "odd",
    ]  # fmt: skip
    assert "secret" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_check_refuses_settings_that_the_study_was_not_begun_with(
    study: dict[str, Any], tmp_path: Path
) -> None:
    """Before, only launch did."""
    config = study_file.load(write_study(study, tmp_path))
    config.output_dir.mkdir(parents=True, exist_ok=True)
    Study(config)
    assert run("check", "study.yaml", cwd=tmp_path).returncode == 0
    done = run("check", "study.yaml", "--set", "training.max_steps=9", cwd=tmp_path)
    assert done.returncode == 2
    assert "max_steps" in done.stderr
