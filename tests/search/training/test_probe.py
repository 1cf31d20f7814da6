"""What a trial and a finalist cost, measured on real ones."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from search.config import study_file
from search.config.study_config import StudyConfig
from search.job import Job, Report
from search.study.records import Key
from search.study.study import Assignment
from search.training import engine, probe
from search.training.peak_memory import PeakMemory
from tests.search.conftest import write_study


@pytest.fixture
def config(study: dict[str, Any], tmp_path: Any) -> StudyConfig:
    return study_file.load(write_study(study, tmp_path))


def job(config: StudyConfig, method: str, values: dict[str, Any]) -> dict[str, Any]:
    assignment = Assignment(Key(method, "finalists", 0), values, {"topics": 1.0}, seed=0)
    return assignment.job(config).to_dict()


def test_a_peak_is_of_the_work_after_it_was_made() -> None:
    torch.zeros(40 * 2**20).add_(1)  # 160 MiB, freed again
    ctypes.CDLL(None).malloc_trim(0)
    peak = PeakMemory(torch.device("cpu"))
    before = peak.bytes()
    assert before is not None
    torch.zeros(10 * 2**20).add_(1)  # 40 MiB
    after = peak.bytes()
    assert after is not None
    assert 30 * 2**20 < after - before < 80 * 2**20


def test_a_probe_measures_training_and_serving(config: StudyConfig) -> None:
    found = probe.measure(job(config, "prompt_tuning", {"num_virtual_tokens": 4}))
    assert found["device"] == "cpu"
    assert found["train_seconds"] == found["train_step_seconds"] * config.training.max_steps
    for name in ("train_step_seconds", "latency_seconds", "rows_per_second", "peak_memory_bytes"):
        assert found[name] > 0, name
    assert found["bytes"] == 4 * (4 * 16 + 3 * 16 + 3), (
        "float32: four vectors of width 16, a head of three labels"
    )


def test_an_encoder_that_only_training_needs_is_not_served(config: StudyConfig) -> None:
    found = probe.measure(job(config, "p_tuning", {"num_virtual_tokens": 4}))
    assert found["bytes"] == 4 * (4 * 16 + 3 * 16 + 3)


def test_a_trial_reports_its_step_and_its_memory(config: StudyConfig, tmp_path: Any) -> None:
    reports: list[Report] = []
    engine.train(Job(**job(config, "head_only", {})), reports.append)
    assert len(reports) == 3
    assert all(report.step_seconds > 0 and report.peak_memory_bytes > 2**20 for report in reports)
    assert all(report.latency_seconds is None for report in reports), "nobody asked"


def test_latency_is_measured_at_the_end_where_it_is_an_objective(
    study: dict[str, Any], tmp_path: Any
) -> None:
    """Of p_tuning, whose deployed form has no encoder; what is trained is in the checkpoint as without it."""
    written = {}
    for costs in ([], ["latency_seconds"]):
        study["search"]["measured_costs"] = costs
        config = study_file.load(write_study({**study, "study": f"of-{len(costs)}"}, tmp_path))
        reports: list[Report] = []
        engine.train(Job(**job(config, "p_tuning", {"num_virtual_tokens": 4})), reports.append)
        latencies = [report.latency_seconds for report in reports]
        assert latencies[:2] == [None, None]
        assert latencies[2] > 0 if costs else latencies[2] is None
        written[len(costs)] = load_file(reports[-1].checkpoint)
    assert written[0].keys() == written[1].keys()
    assert all(torch.equal(tensor, written[1][name]) for name, tensor in written[0].items())
