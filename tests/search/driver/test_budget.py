"""Hours and GPU-hours, over launches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.driver.budget import Budget, seconds_used
from search.study.study import Assignment, Study
from tests.search.studies import end, load


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_gpu_hours_are_gpus_times_trials_times_hours(study: dict[str, Any], tmp_path: Path) -> None:
    config = load(study, tmp_path, max_gpu_hours=1.0)
    clock = Clock()
    budget = Budget(Study(config), gpus=0.5, clock=clock)
    clock.now += 1800
    assert not budget.used_up(running=2), "half an hour of one GPU"
    clock.now += 600
    assert not budget.used_up(running=0), "nothing ran"
    clock.now += 1200
    budget.used_up(running=2)
    resumed = Study(config)
    assert resumed.gpu_seconds == 3000, "a killed driver forgets at most what came after it was kept"
    again = Budget(resumed, gpus=0.5, clock=clock)
    clock.now += 500
    assert not again.used_up(running=2)
    clock.now += 101
    assert again.used_up(running=2)
    assert Study(config).gpu_seconds == 3601, "kept when it ends"


def test_hours_go_on_with_those_of_earlier_launches(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(load(study, tmp_path, max_hours=1.0))
    clock = Clock()
    budget = Budget(opened, gpus=0.0, clock=clock)
    clock.now += 3599
    assert not budget.used_up(running=1)
    clock.now += 2
    assert budget.used_up(running=1)
    assert opened.gpu_seconds == 0
    cut = opened.next()
    assert isinstance(cut, Assignment)
    opened.record_evaluation(cut.key, 2, {"validation": 0.4, "seconds": 3600.0})
    assert seconds_used(Study(opened.config)) == 3600
    later = Clock()
    resumed = Budget(Study(opened.config), gpus=0.0, clock=later)
    later.now += 1
    assert resumed.used_up(running=1)


def test_without_limits_nothing_ends(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(load(study, tmp_path))
    clock = Clock()
    budget = Budget(opened, gpus=1.0, clock=clock)
    assignment = opened.next()
    assert isinstance(assignment, Assignment)
    end(opened, assignment, 0.5)
    clock.now += 1e9
    assert not budget.used_up(running=64)
