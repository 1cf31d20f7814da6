"""Jobs of one study that train in one process: each as it would alone, whatever the others do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, BertModel

from search.config import study_file
from search.config.study_config import StudyConfig
from search.job import Job, Report
from search.study.records import Key
from search.study.study import Assignment
from search.training.checkpoint_folder import CheckpointFolderError
from search.training.engine import Attached, Engine, train
from search.training.trial import DivergedError
from tests.search.conftest import make_tokenizer, write_study

CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("head_only", {}),
    ("prompt_tuning", {"num_virtual_tokens": 3}),
    ("prompt_tuning", {"num_virtual_tokens": 5, "learning_rate": 0.1}),
    ("p_tuning", {"num_virtual_tokens": 3}),
    ("prefix_tuning", {"num_virtual_tokens": 3}),
    ("p_tuning_v2", {"num_virtual_tokens": 3, "dropout": 0.2}),
    ("prompt_pool", {"num_virtual_tokens": 2, "pool_size": 4}),
    ("multitask", {"num_virtual_tokens": 3, "pool_size": 4}),
    ("lora", {"r": 2}),
    ("full", {}),
]


@pytest.fixture
def config(study: dict[str, Any], tmp_path: Path) -> StudyConfig:
    return study_file.load(write_study(study, tmp_path))


def jobs(config: StudyConfig, folder: str, given: list[tuple[str, dict[str, Any]]] = CONFIGS) -> list[Job]:
    """The jobs, whose checkpoints lie in a folder of this name."""
    made = []
    for number, (method, values) in enumerate(given):
        job = Assignment(Key(method, "search", number), values, {"topics": 1.0}, seed=number).job(config)
        made.append(Job(**{**job.to_dict(), "folder": f"{job.folder}-{folder}"}))
    return made


def alone(given: list[Job]) -> list[list[Report]]:
    found: list[list[Report]] = [[] for _ in given]
    for job, reports in zip(given, found, strict=True):
        train(job, reports.append)
    return found


def to_the_end(engine: Engine) -> list[Attached]:
    ended: list[Attached] = []
    while engine.attached:
        ended += engine.turn()
    return ended


def assert_same(found: list[Report], expected: list[Report]) -> None:
    assert [report.step for report in found] == [report.step for report in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.validation == pytest.approx(other.validation, abs=2 / 30), "two rows"
        assert (one.trained_parameters, one.trivial) == (other.trained_parameters, other.trivial)


def test_together_as_alone(config: StudyConfig) -> None:
    engine = Engine(config.model_dump_json())
    found: list[list[Report]] = [[] for _ in CONFIGS]
    for job, reports in zip(jobs(config, "together"), found, strict=True):
        engine.attach(job, reports.append)
    ended = to_the_end(engine)
    assert [one.error for one in ended] == [None] * len(CONFIGS)
    for mine, expected in zip(found, alone(jobs(config, "alone")), strict=True):
        assert_same(mine, expected)


def test_jobs_come_and_go(config: StudyConfig) -> None:
    """One leaves after its first report and goes on elsewhere; one comes when the other is at step 3."""
    (first, second), expected = jobs(config, "a", CONFIGS[1:3]), alone(jobs(config, "b", CONFIGS[1:3]))
    here, there = Engine(config.model_dump_json()), Engine(config.model_dump_json())
    early: list[Report] = []
    late: list[Report] = []
    one = here.attach(first, early.append)
    for _ in range(3):
        here.turn()
    here.attach(second, late.append)
    here.detach(one)
    assert one.ended
    assert one.error is None
    there.attach(first, early.append)
    to_the_end(here)
    to_the_end(there)
    assert [(report.step, report.resumed) for report in early] == [
        (2, False),
        (2, True),
        (4, False),
        (6, False),
    ]
    assert_same(early[:1] + early[2:], expected[0])
    assert_same(late, expected[1])


def test_what_cannot_go_on_leaves_alone(config: StudyConfig, tmp_path: Path) -> None:
    """One diverges; one whose checkpoints have no place; one whose driver does not listen; one with more than the model's positions."""
    given = [
        ("prompt_tuning", {"num_virtual_tokens": 38}),
        CONFIGS[5],
        ("prompt_tuning", {"num_virtual_tokens": 3, "learning_rate": 1e30}),
        CONFIGS[1],
        CONFIGS[3],
        CONFIGS[4],
    ]
    made = jobs(config, "a", given)
    (tmp_path / "file").write_text("no folder")
    made[3] = Job(**{**made[3].to_dict(), "folder": str(tmp_path / "file" / "in-it")})

    class Deaf(Exception):
        pass

    def hears_nothing(report: Report) -> None:
        raise Deaf

    engine = Engine(config.model_dump_json())
    found: list[list[Report]] = [[] for _ in made]
    hears = [reports.append for reports in found]
    attached = [
        engine.attach(job, hears_nothing if number == 4 else hears[number]) for number, job in enumerate(made)
    ]
    to_the_end(engine)
    errors = [type(one.error) for one in attached]
    assert errors[2:5] == [DivergedError, CheckpointFolderError, Deaf]
    assert errors[1] is errors[5] is type(None)
    assert issubclass(errors[0], Exception)
    for number in (1, 5):
        (expected,) = alone(jobs(config, "b", [given[0]] * number + [given[number]])[-1:])
        new = [report for report in found[number] if not report.resumed]
        assert_same(new, expected)


_IN_LITTLE_MEMORY = """
import json, resource, sys
import torch
from search.job import Job
from search.training.engine import Engine
torch.backends.mkldnn.set_flags(False)  # near a limit it may not find room for its own code
jobs = [Job(**each) for each in json.loads(sys.argv[1])]
engine = Engine(jobs[0].study)
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = pages + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
reports = {job.number: [] for job in jobs}
attached = [engine.attach(job, reports[job.number].append) for job in jobs]
running, ended = [], []
while engine.attached:
    running.append(sum(one.running for one in engine.attached))
    ended += engine.turn()
steps = {number: [report.step for report in found if not report.resumed] for number, found in reports.items()}
print(json.dumps([running, [one.job.number for one in ended], [repr(one.error) for one in attached], steps]))
"""


def test_what_finds_no_memory_waits(study: dict[str, Any], tmp_path: Path) -> None:
    """Three copies of a model, each with its gradient and moments, where a real limit leaves room for two."""
    model = BertModel(
        BertConfig(
            vocab_size=64,
            hidden_size=512,
            num_hidden_layers=4,
            num_attention_heads=8,
            intermediate_size=2048,
            max_position_embeddings=40,
        )
    )
    model.save_pretrained(tmp_path / "wide")  # 12.6 million parameters, 48 MiB
    make_tokenizer().save_pretrained(tmp_path / "wide")
    study["model"]["name_or_path"] = str(tmp_path / "wide")
    config = study_file.load(write_study(study, tmp_path))
    given = [job.to_dict() for job in jobs(config, "a", [("full", {})] * 3)]
    command = [sys.executable, "-c", _IN_LITTLE_MEMORY, json.dumps(given), "440"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    running, ended, errors, steps = json.loads(done.stdout.splitlines()[-1])
    assert errors == ["None"] * 3
    assert all(found == [2, 4, 6] for found in steps.values())
    assert running[3] < 3, "at the latest once there are moments, there is too little"
    assert ended[-1] == 2, "the last that came waited"
