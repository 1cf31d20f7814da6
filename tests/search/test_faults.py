"""What goes wrong around a study, and what is kept."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from search import checkpoint, patience, study_file, trial
from search.checkpoint import DiskFullError
from search.config import StudyConfig
from search.errors import StorageError
from search.pack import Pack
from search.patience import Patient
from search.study import Assignment, Key
from tests.search.conftest import write_study


@pytest.fixture
def config(study: dict[str, Any], tmp_path: Path) -> StudyConfig:
    return study_file.load(write_study(study, tmp_path))


def job(config: StudyConfig, method: str) -> trial.Job:
    return trial.Job.of(config, Assignment(Key(method, "search", 0), {}, {"topics": 1.0}, seed=0))


@pytest.mark.parametrize("method", ["prompt_tuning", "p_tuning", "prompt_pool", "full"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_halved_batch_makes_the_same_steps(config: StudyConfig, method: str, times: int) -> None:
    resources = trial.load(config.model_dump_json())
    losses, trained = [], []
    for halvings in (0, times):
        one, pack = trial.build(job(config, method), config, resources), Pack()
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
from search import trial
torch.backends.mkldnn.set_flags(False)  # it says of no memory only that it could not create something
job = trial.Job(**json.loads(sys.argv[1]))
trial.load(job.study)
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = pages + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
reports = []
trial.train(job, reports.append)
print(json.dumps([json.loads(report["metrics"]) for report in reports]))
"""


def test_a_batch_that_does_not_fit_is_halved(study: dict[str, Any], tmp_path: Path) -> None:
    """With a real limit on the memory of a process."""
    study["training"] = {"max_steps": 2, "eval_steps": 1, "per_device_train_batch_size": 16384}
    config = study_file.load(write_study(study, tmp_path))
    command = [
        sys.executable,
        "-c",
        _IN_LITTLE_MEMORY,
        json.dumps(job(config, "p_tuning_v2").to_dict()),
        "500",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert all(found["gradient_accumulation_steps"] > 1 for found in metrics)


def test_a_full_disk_keeps_the_checkpoint_before(config: StudyConfig, tmp_path: Path) -> None:
    """On a real file system without space."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        resources = trial.load(config.model_dump_json())
        one, pack = trial.build(job(config, "prompt_tuning"), config, resources), Pack()
        pack.attach(one)
        checkpoint.save(one, disk / "trial")
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(512))
        pack.step()
        with pytest.raises(DiskFullError, match="no space is left for checkpoints"):
            checkpoint.save(one, disk / "trial")
        assert [file.name for file in (disk / "trial").iterdir()] == ["step-00000000.safetensors"]
        assert checkpoint.restore(one, disk / "trial")
        assert one.step == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


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
    study_id = Patient(behind, "somewhere").create_new_study([StudyDirection.MAXIMIZE], "one")
    assert behind.get_study_name_from_id(study_id) == "one"


def test_waiting_for_a_storage_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = Away()
    behind.away.set()
    monkeypatch.setattr(patience, "_PATIENCE", 0.5)
    with pytest.raises(StorageError, match="somewhere has been away"):
        Patient(behind, "somewhere").create_new_study([StudyDirection.MAXIMIZE], "one")
