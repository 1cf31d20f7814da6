"""Successive halving: where the rungs are, and who is stopped."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.driver.losses import Losses
from search.driver.tune import HalvingScheduler, StudySearcher
from search.strategy.early_stopping import falls_behind, rungs
from search.study.study import Assignment, Study
from tests.search.studies import end, load


@pytest.mark.parametrize(
    ("max_steps", "eval_steps", "eta", "expected"),
    [
        (45, 15, 3, (15,)),
        (300, 10, 3, (10, 30, 100)),
        (64, 8, 2, (8, 16, 32)),
        (100, 30, 3, (30,)),
        (20, 20, 3, ()),
        (10, 50, 3, ()),
    ],
)
def test_rungs_are_evaluations_before_the_end(
    max_steps: int, eval_steps: int, eta: int, expected: tuple[int, ...]
) -> None:
    found = rungs(max_steps, eval_steps, eta)
    assert found == expected
    assert all(rung % eval_steps == 0 and rung < max_steps for rung in found)


def test_nobody_is_stopped_before_eta_peers_exist() -> None:
    assert not falls_behind(0.1, [0.9, 0.8], eta=3)
    assert falls_behind(0.1, [0.9, 0.8, 0.7], eta=3)


def test_the_top_share_goes_on() -> None:
    peers = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert not falls_behind(0.45, peers, eta=3)  # second of six, and two may go on
    assert falls_behind(0.35, peers, eta=3)


def test_ties_go_on() -> None:
    assert not falls_behind(0.9, [0.9, 0.9, 0.9], eta=3)


def test_decisions_are_rebuilt_from_the_storage(study: dict[str, Any], tmp_path: Path) -> None:
    """After a restart the rungs are what the storage has: the same trial is stopped, and a cheaper one is not."""
    content = {**study, "methods": {"prompt_tuning": {}}}
    opened = Study(load(content, tmp_path, trials_per_method=6))
    for score in (0.7, 0.8, 0.9):
        assignment = opened.next()
        assert isinstance(assignment, Assignment)
        evaluation = {"validation": score, "loss": 1.0, "task_scores": {}, "metrics": {}, "seconds": 9.0}
        opened.record_evaluation(assignment.key, 2, evaluation, deployed_parameters=20)
        end(opened, assignment, score, deployed=20)
    decisions = {}
    for deployed in (20, 10):
        again = Study(opened.config)
        searcher = StudySearcher(again, Losses(again, 64, print))
        scheduler = HalvingScheduler(searcher)
        job = searcher.suggest("tune-1")
        assert isinstance(job, dict)
        counts = {"trained_parameters": deployed, "deployed_parameters": deployed, "head_parameters": 1}
        result = {
            "step": 2,
            "validation": 0.1,
            "loss": 1.0,
            "seconds": 1e9,
            "checkpoint": None,
            "step_seconds": 0.1,
            "peak_memory_bytes": None,
            "latency_seconds": None,
            "resumed": False,
            "stops_study": False,
            "error": None,
        }
        texts = {"task_scores": "{}", "metrics": "{}"}
        trial = SimpleNamespace(trial_id="tune-1")
        decisions[deployed] = scheduler.on_trial_result(None, trial, {**result, **texts, **counts})  # type: ignore[arg-type]
    assert decisions == {20: "STOP", 10: "CONTINUE"}, "seconds, which are measured, stop nobody"
