"""Scoring and measuring on Ray's workers: what is lost from outside is no result."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from search.driver import second_stage
from search.errors import HaltedError
from search.training import probe, scores_on_test

pytestmark = [pytest.mark.release, pytest.mark.timeout(200)]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    os.environ["RAY_TASK_MAX_RETRIES"] = "0"
    ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    del os.environ["RAY_TASK_MAX_RETRIES"]


def dies(job: dict[str, Any]) -> dict[str, Any]:
    os._exit(1)


def fails(job: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("the model has no such layer")


def test_a_probe_whose_process_dies_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, its death became the method's cost, for good."""
    monkeypatch.setattr(probe, "measure", dies)
    with pytest.raises(HaltedError, match=r"Ray has lost what ran on it .* launch again to continue"):
        list(second_stage.measure_all([{}], {"cpu": 1}, threading.Event()))


def test_a_probe_that_fails_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "measure", fails)
    ((index, found),) = second_stage.measure_all([{}], {"cpu": 1}, threading.Event())
    assert index == 0
    assert "the model has no such layer" in found["error"]


def test_a_score_whose_process_dies_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, it was a hundred lines of traceback."""
    monkeypatch.setattr(scores_on_test, "score", dies)
    with pytest.raises(HaltedError, match="Ray has lost what ran on it"):
        list(second_stage.score_all([{}], {"cpu": 1, "gpu": 1}, threading.Event()))
