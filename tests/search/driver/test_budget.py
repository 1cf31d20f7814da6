"""Hours and GPU-hours, over launches."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from search.driver.budget import Budget, seconds_used
from search.storage import trials
from search.study.study import Assignment, Study
from search.tracking.tracker import Tracker
from tests.search.studies import by_rate, end, load, run
from tests.search.tracking.runs import runs


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
    clock.now += 1800
    assert not budget.used_up(running=1)
    budget.keep()
    assert opened.gpu_seconds == 0
    later = Clock()
    later.now = 5.0
    resumed = Budget(Study(opened.config), gpus=0.0, clock=later)
    later.now += 1799
    assert not resumed.used_up(running=1)
    later.now += 2
    assert resumed.used_up(running=1)
    assert seconds_used(Study(opened.config)) == 3601, "kept when it ends"


def test_hours_of_an_earlier_version_are_what_its_trials_measured(
    study: dict[str, Any], tmp_path: Path
) -> None:
    """It kept none. The night between two launches of a trial that was interrupted is not counted."""
    opened = Study(load(study, tmp_path, max_hours=1.0))
    cut = opened.next()
    assert isinstance(cut, Assignment)
    opened.record_evaluation(cut.key, 2, {"validation": 0.4, "seconds": 3600.0})
    assert seconds_used(Study(opened.config)) == 3600
    later = Clock()
    resumed = Budget(Study(opened.config), gpus=0.0, clock=later)
    later.now += 1
    assert resumed.used_up(running=1)


@pytest.mark.parametrize("hours", [-36, 36])
def test_a_wall_clock_that_is_set_changes_no_result(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """It is set with every trial that starts; nothing but the times that are shown comes from it."""
    quiet = Study(load({**study, "study": "quiet"}, tmp_path))
    expected = [(each.key.method, each.config, each.seed) for each in run(quiet, by_rate)]

    class Set(datetime):
        jumps = 0

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            cls.jumps += 1
            return datetime.now(tz) + timedelta(hours=hours * cls.jumps)

    monkeypatch.setattr(trials, "datetime", Set)
    config = load({**study, "study": "moved"}, tmp_path, max_hours=10.0)
    budget = Budget(Study(config), gpus=0.0)
    moved = run(Study(config), by_rate)
    assert Set.jumps > 5
    assert [(each.key.method, each.config) for each in moved] == [(m, c) for m, c, _ in expected]
    budget.keep()
    assert not Budget(Study(config), gpus=0.0).used_up(running=1), "no hour has passed"
    Tracker(Study(config), backbone_parameters=1000).sync()
    assert {each.info.status for name, each in runs(config).items() if name != "moved"} == {"FINISHED"}


def test_without_limits_nothing_ends(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(load(study, tmp_path))
    clock = Clock()
    budget = Budget(opened, gpus=1.0, clock=clock)
    assignment = opened.next()
    assert isinstance(assignment, Assignment)
    end(opened, assignment, 0.5)
    clock.now += 1e9
    assert not budget.used_up(running=64)
