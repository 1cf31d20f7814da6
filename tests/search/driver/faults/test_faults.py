"""What goes wrong around a study, and what is kept."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from search.config import study_file
from search.config.study_config import StudyConfig
from search.errors import StorageError
from search.job import Job, Report
from search.storage import retrying
from search.storage.retrying import RetryingStorage
from search.study.records import Key
from search.study.study import Assignment
from search.training import checkpoint, engine, worker
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from search.training.steps.pack import Pack
from tests.search.conftest import write_study
from tests.search.launches import assert_whole, progress, run, start, trials, wait_until


@pytest.fixture
def config(study: dict[str, Any], tmp_path: Path) -> StudyConfig:
    return study_file.load(write_study(study, tmp_path))


def job(config: StudyConfig, method: str) -> Job:
    return Assignment(Key(method, "search", 0), {}, {"topics": 1.0}, seed=0).job(config)


@pytest.mark.parametrize("method", ["prompt_tuning", "p_tuning", "prompt_pool", "full"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_halved_batch_makes_the_same_steps(config: StudyConfig, method: str, times: int) -> None:
    resources = worker.load(config.model_dump_json())
    losses, trained = [], []
    for halvings in (0, times):
        one, pack = worker.build(job(config, method), resources), Pack()
        pack.attach(one)
        for _ in range(halvings):
            assert pack.halve()
        losses.append([pack.step()[0] for _ in range(4)])
        trained.append(one.parameters)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one_tensor, other in zip(*trained, strict=True):
        torch.testing.assert_close(one_tensor, other, rtol=1e-3, atol=1e-5)
    assert not [pack.halve() for _ in range(5)][-1], "one row at a time is the end of it"


_IN_LITTLE_MEMORY = """
import json, resource, sys
import torch
from search.metrics import labels  # mapped before there is little memory
from search.job import Job
from search.training import engine, worker
# Near such a limit oneDNN may not find room for its own code again, whatever the batch; the test below has its words.
torch.backends.mkldnn.set_flags(False)
job = Job(**json.loads(sys.argv[1]))
worker.load(job.study)
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = pages + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
reports = []
engine.train(job, reports.append)
print(json.dumps([report.metrics for report in reports]))
"""


def test_a_batch_that_does_not_fit_is_halved(study: dict[str, Any], tmp_path: Path) -> None:
    """With a real limit on the memory of a process."""
    study["training"] = {"max_steps": 2, "eval_steps": 1, "per_device_train_batch_size": 16384}
    config = study_file.load(write_study(study, tmp_path))
    command = [
        sys.executable,
        "-c",
        _IN_LITTLE_MEMORY,
        json.dumps(job(config, "prompt_tuning").to_dict()),
        "400",  # MiB; it needs more than 1,000 at once, and 150 suffice for a 64th of the rows
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert all(found["gradient_accumulation_steps"] > 1 for found in metrics)


_NO_MEMORY_LEFT = """
import resource
import torch
from torch.nn import functional
from search.training.out_of_memory import out_of_memory
weight = torch.randn(512, 512)
rows = [torch.randn(count, 512) for count in range(1, 200, 7)]
functional.gelu(functional.linear(rows[-1], weight))
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + 2**20,) * 2)
ballast = []
try:
    while True:
        ballast.append(torch.empty(2**14))
except RuntimeError as error:
    assert out_of_memory(error)
del ballast[-4:]  # Python itself needs a little, or it dies
found = {}
for each in rows:
    for function in (lambda x: functional.linear(x, weight), functional.gelu):
        try:
            function(each)
        except RuntimeError as error:
            found[str(error).partition(":")[0]] = out_of_memory(error)
print(found)
"""


def test_whoever_is_out_of_memory_is_understood() -> None:
    """PyTorch's allocator and oneDNN, which has other words for it, with a real limit."""
    command = [sys.executable, "-c", _NO_MEMORY_LEFT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    found = ast.literal_eval(done.stdout.splitlines()[-1])
    assert "could not create a primitive" in found
    assert len(found) > 1
    assert all(found.values()), found


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("A FULL DISK IS NOT TESTED: only root can mount a small file system")
    try:
        yield place
    finally:
        # lazily: readers of the databases in this process keep connections
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leaves no space, by the file that is returned."""
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        for size in (2**20, 512):
            with contextlib.suppress(OSError):
                while ballast.write(bytes(size)):
                    pass
    return disk / "ballast"


def test_a_full_disk_keeps_the_checkpoint_before(config: StudyConfig, tmp_path: Path) -> None:
    """On a real file system without space."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        resources = worker.load(config.model_dump_json())
        one, pack = worker.build(job(config, "prompt_tuning"), resources), Pack()
        pack.attach(one)
        folder = CheckpointFolder(disk / "trial")
        checkpoint.save(one, folder)
        fill(disk)
        pack.step()
        with pytest.raises(CheckpointFolderError, match=r"cannot be written to .*: .*No space left"):
            checkpoint.save(one, folder)
        assert [file.name for file in (disk / "trial").iterdir()] == ["step-00000000.safetensors"]
        assert checkpoint.restore(one, folder)
        assert one.step == 0


@pytest.mark.release
@pytest.mark.timeout(400)
def test_a_study_whose_disk_is_full_stops_and_goes_on_once_there_is_space(
    study: dict[str, Any], tmp_path: Path
) -> None:
    """All that it writes is on that disk: checkpoints, both databases, the report."""
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in ("head_only", "prompt_tuning")}
    study["training"] = {**study["training"], "max_steps": 200, "eval_steps": 20}
    study["search"] = {"trials_per_method": 2, "early_stopping": False}
    write_study(study, tmp_path)
    with small_disk(tmp_path / "outputs", "64m") as disk:
        process = start("launch", "study.yaml", cwd=tmp_path)
        wait_until(progress(tmp_path), process)
        ballast = fill(disk)
        said = tmp_path / "launch.log"
        assert process.wait(200) == 5, said.read_text()
        assert re.search("No space left|disk is full", said.read_text())
        assert "launch again to continue" in " ".join(said.read_text().split())
        ended = {where for where, trial in trials(tmp_path).items() if trial.state.is_finished()}
        ballast.unlink()
        code, output = run("launch", "study.yaml", cwd=tmp_path)
        assert code == 0, output
        assert_whole(tmp_path, ("head_only", "prompt_tuning"), each=2)
        assert ended <= set(trials(tmp_path))


def test_a_trial_goes_on_from_the_checkpoint_before_one_that_is_damaged(config: StudyConfig) -> None:
    given = job(config, "prompt_tuning")

    class Killed(Exception):
        pass

    def until_step_4(report: Report) -> None:
        whole.append(report)
        if report.step == 4:
            raise Killed

    whole: list[Report] = []
    with pytest.raises(Killed):
        engine.train(given, until_step_4)
    last = Path(whole[-1].checkpoint)
    last.write_bytes(last.read_bytes()[:100])
    reports: list[Report] = []
    engine.train(given, reports.append)
    assert [(report.step, report.resumed) for report in reports] == [(2, True), (4, False), (6, False)]
    assert [report.loss for report in reports[:2]] == [report.loss for report in whole]


class Away(InMemoryStorage):
    """A storage whose database cannot be reached for a time."""

    def __init__(self) -> None:
        super().__init__()
        self.away = threading.Event()

    def create_new_study(self, directions: Any, study_name: str | None = None) -> int:
        if self.away.is_set():
            raise StorageInternalError("the connection was lost")
        return super().create_new_study(directions, study_name)


def test_a_storage_that_is_away_is_waited_for() -> None:
    behind = Away()
    behind.away.set()
    threading.Timer(0.5, behind.away.clear).start()
    study_id = RetryingStorage(behind, "somewhere").create_new_study([StudyDirection.MAXIMIZE], "one")
    assert behind.get_study_name_from_id(study_id) == "one"


def test_waiting_for_a_storage_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = Away()
    behind.away.set()
    monkeypatch.setattr(retrying, "_PATIENCE", 0.5)
    with pytest.raises(StorageError, match="somewhere has been away"):
        RetryingStorage(behind, "somewhere").create_new_study([StudyDirection.MAXIMIZE], "one")
