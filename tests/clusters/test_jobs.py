"""A tiny study on two raylets of this machine, from the script that docs/clusters.md starts them with, through Ray Jobs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from clusters.render import render
from tests.search.conftest import write_study
from tests.search.launches import PROGRAM
from tests.search.servers import Bucket, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PORT = 21400


class Laptop(NamedTuple):
    """Where commands are given: a folder that the cluster knows nothing of, and what is set there."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laptop, str]]:
    """A laptop, and the address at which it reaches two nodes that the local script has started."""
    folder = Path(tempfile.mkdtemp(prefix="pf-"))  # short: the paths of sockets are limited
    dashboard = free_port()
    script = folder / "cluster.sh"
    values = {"folder": str(folder / "c"), "port": str(PORT), "dashboard_port": str(dashboard)}
    script.write_text(render("local", values))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(Path.cwd()), **Bucket.KEYS}
    environment = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    here = tmp_path_factory.mktemp("laptop")
    try:
        subprocess.run(["bash", str(script), "up"], env=environment, check=True, timeout=180)
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "c" / "token")}
        yield Laptop(here, environment | token), f"http://127.0.0.1:{dashboard}"
    finally:
        subprocess.run(["bash", str(script), "down"], env=environment, check=True, timeout=120)
        shutil.rmtree(folder)


def test_a_study_is_submitted_stopped_resumed_and_brought_back(
    laptop: tuple[Laptop, str], study: dict[str, Any], tmp_path: Path
) -> None:
    here, address = laptop
    study["output_dir"] = str(tmp_path / "kept")
    study["methods"] = {name: study["methods"][name] for name in ("head_only", "prompt_tuning")}
    study["training"] = {**study["training"], "max_steps": 200, "eval_steps": 20}
    study["search"] = {"trials_per_method": 2, "early_stopping": False}
    file = str(write_study(study, tmp_path))
    code, said = here.run("launch", file, "--address", address, RAY_AUTH_TOKEN="wrong")
    assert (code, "refuses the token" in said) == (5, True), said
    code, said = here.run("check", file, "--address", address, RAY_AUTH_MODE="disabled")
    assert (code, "needs a token" in said) == (5, True), said

    code, said = here.run("launch", file, "--address", address)
    assert code == 0, said
    assert "-1;" in said, "the first job of the study"
    checkpoints = tmp_path / "kept" / "tiny" / "checkpoints"
    while not list(checkpoints.glob("*/*.safetensors")):
        time.sleep(0.5)
    code, said = here.run("stop", "tiny")
    assert (code, "STOPPED" in said) == (0, True), said
    code, said = here.run("logs", "tiny")
    assert "Interrupted; nothing is lost" in said
    assert "Running entrypoint" not in said
    assert "partial" in (tmp_path / "kept/tiny/report/report.json").read_text()

    code, said = here.run("launch", file, "--address", address)
    assert "-2;" in said, "the same study in a second job"
    code, said = here.run("logs", "tiny", "--follow")
    assert (code, "SUCCEEDED" in said) == (0, True), said
    assert "Verdict" in said
    code, said = here.run("report", "tiny")
    assert code == 0, said
    report = json.loads((here.folder / "outputs/tiny/report/report.json").read_text())
    assert not report["partial"]
    assert len(report["trials"]) == len({(t["method"], t["number"]) for t in report["trials"]}) == 4
    code, said = here.run("export", "tiny", "--method", "prompt_tuning", "--out", "model")
    assert code == 0, said
    assert (here.folder / "model" / "method.safetensors").exists()
    code, said = here.run("status", "tiny")
    assert (code, "2/2" in said) == (0, True), said


@pytest.fixture
def lonely_node(laptop: tuple[Laptop, str], tmp_path: Path) -> Iterator[Path]:
    """A third node, with a GPU as it says, that has another file system at the folder that is yielded."""
    here, _ = laptop
    private = tmp_path / "private"
    private.mkdir()
    node = ["ray", "start", "--block", f"--address=127.0.0.1:{PORT}", "--node-ip-address=127.0.0.1"]
    node += [
        "--num-cpus=1",
        "--num-gpus=1",
        f"--min-worker-port={PORT + 310}",
        f"--max-worker-port={PORT + 399}",
    ]
    # A folder of its own: two nodes in one remove the working directories of each other's jobs.
    node += [f"--temp-dir={Path(here.environment['RAY_AUTH_TOKEN_PATH']).parent / 'node2'}"]
    node += [f"--dashboard-agent-listen-port={PORT + 301}", "--disable-usage-stats"]
    mount = f"mount -t tmpfs none {shlex.quote(str(private))}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    if subprocess.run([*command, mount], capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own for one process needs root")
    started = subprocess.Popen([*command, f"{mount} && exec {shlex.join(node)}"], env=here.environment)
    try:
        yield private
    finally:
        started.terminate()
        started.wait(60)


@pytest.mark.release
def test_nodes_that_do_not_share_the_folder_are_refused_without_a_bucket(
    laptop: tuple[Laptop, str],
    lonely_node: Path,
    study: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, address = laptop
    for name, value in Bucket.KEYS.items():
        monkeypatch.setenv(name, value)
    study["study"] = "fractions"
    study["methods"] = {"head_only": {}}
    study["cluster"] = {"gpus_per_trial": 0.25, "max_concurrent_trials": 2}
    study["search"] = {"trials_per_method": 2}
    study["output_dir"] = str(tmp_path / "kept")
    (task,) = study["tasks"]  # its files by absolute paths: relative ones would go through output_dir
    task["data"]["data_files"] = {
        split: str(tmp_path / name) for split, name in task["data"]["data_files"].items()
    }
    file = str(write_study(study, tmp_path))
    # Only the third node has a GPU, so that a study with quarters of one ends only once it is there.
    while "cluster has" in (said := ended(here, file, address)):
        time.sleep(1)
    assert "SUCCEEDED" in said
    report = json.loads((tmp_path / "kept/fractions/report/report.json").read_text())
    assert [trial["state"] for trial in report["trials"]] == ["COMPLETE", "COMPLETE"]

    said = ended(here, file, address, "--set", f"output_dir={lonely_node}", "--set", "study=apart")
    assert "FAILED" in said
    assert f"cannot see {lonely_node / 'apart'}/checkpoints, " in said

    bucket = Bucket()
    try:
        more = ("--set", f"tracking.checkpoints={bucket.uri}")
        said = ended(here, file, address, "--set", f"output_dir={lonely_node}", "--set", "study=apart", *more)
        assert "SUCCEEDED" in said, said
        assert {name.split("/")[1] for name in bucket.names()} > {"head_only-000", "head_only-001"}
    finally:
        bucket.stop()
    # trials ran on the third node, and the driver, which has written this, on another
    report = json.loads((lonely_node / "apart/report/report.json").read_text())
    assert [trial["state"] for trial in report["trials"]] == ["COMPLETE", "COMPLETE"]


def ended(laptop: Laptop, file: str, address: str, *options: str) -> str:
    """What a job printed, and how it ended."""
    code, said = laptop.run("launch", file, "--address", address, *options)
    assert code == 0, said
    name = "apart" if options else "fractions"
    return laptop.run("logs", name, "--follow")[1]
