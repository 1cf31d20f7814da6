"""Trials that are lost from outside wait and go on; one that fails alone, with room, has failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.config import study_file
from search.driver import losses as module
from search.driver.losses import FIRST_PAUSE, Losses
from search.driver.tune import reason
from search.plan import memory
from search.study.records import Key
from search.study.study import Assignment, Study
from tests.search.conftest import write_study

ONE, OTHER = Key("prompt_tuning", "search", 0), Key("prompt_tuning", "search", 1)


class Machine:
    """A clock and a memory that a test sets."""

    now = 0.0
    free = 2**40


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(module.time, "monotonic", lambda: found.now)
    monkeypatch.setattr(memory, "free", lambda: found.free)
    monkeypatch.setattr(memory, "largest_other", lambda: "process 7 of ada holds 21.0 GiB")
    return found


@pytest.fixture
def study_(study: dict[str, Any], tmp_path: Path) -> Study:
    return Study(study_file.load(write_study({**study, "methods": {"prompt_tuning": {}}}, tmp_path)))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def losses(study_: Study, said: list[str], machine: Machine) -> Losses:
    return Losses(study_, 8, said.append)


def test_starts_pause_twice_as_long_after_each_loss(
    losses: Losses, machine: Machine, said: list[str]
) -> None:
    assert losses.may_start(7)
    assert not losses.may_start(8)
    for pause in (FIRST_PAUSE, 2 * FIRST_PAUSE):
        assert losses.lost(ONE if pause == FIRST_PAUSE else OTHER, "its process ended", running=3) is None
        assert not losses.may_start(0)
        machine.now += pause - 0.1
        assert not losses.may_start(0)
        machine.now += 0.2
        assert losses.may_start(0)
    losses.lost(OTHER, "its process ended", running=3)
    losses.moved_on(ONE)
    assert said[0] == f"{ONE} was lost: its process ended; it goes on from its last checkpoint"


def test_many_losses_in_a_row_lower_the_number_at_once(
    losses: Losses, machine: Machine, said: list[str]
) -> None:
    machine.free = 0  # so no trial is to blame
    for number in range(6):
        losses.lost(Key("prompt_tuning", "search", number), "there was no memory left for it", running=5)
    machine.now, machine.free = 1e6, 2**40
    losses.moved_on(ONE)
    assert losses.may_start(1)
    assert not losses.may_start(2)
    assert said[-1] == "6 trials were lost in a row (there was no memory left for it); now 2 at a time"
    losses.ended()
    assert losses.may_start(2)
    for _ in range(20):
        losses.ended()
    assert losses.may_start(7)
    assert not losses.may_start(8)


def test_trials_that_are_lost_with_one_process_are_one_loss(
    losses: Losses, machine: Machine, said: list[str]
) -> None:
    machine.free = 0
    for number in range(8):
        key = Key("prompt_tuning", "search", number)
        losses.lost(key, "its process ended", running=7 - number, first=number == 0)
    assert len(said) == 1
    machine.now, machine.free = 1e6, 2**40
    losses.moved_on(ONE)
    assert losses.may_start(7)


def test_nothing_starts_without_memory_and_the_reason_is_said_once(
    losses: Losses, machine: Machine, said: list[str]
) -> None:
    machine.free = 2**28
    assert losses.may_start(0), "memory is only looked at after a loss"
    losses.lost(ONE, "there was no memory left for it", running=0)
    machine.now = 1e6
    assert not any(losses.may_start(0) for _ in range(3))
    assert said[1:] == [
        "Waiting for memory: 0.2 GiB free, a trial needs 0.5 GiB; process 7 of ada holds 21.0 GiB"
    ]
    machine.free = 2**30
    assert losses.may_start(0)


def test_a_trial_fails_only_for_what_it_does_alone_and_with_room(losses: Losses, machine: Machine) -> None:
    """Before, three losses within a minute made it a failed one, whatever the reason."""
    machine.free = 0
    for _ in range(20):
        assert losses.lost(ONE, "there was no memory left for it", running=0) is None
    machine.free = 2**40
    assert losses.lost(ONE, "its process ended", running=0) is None
    assert losses.lost(ONE, "its process ended", running=3) is None
    machine.now = 1e6
    assert losses.may_start(0)
    assert not losses.may_start(1), "it is tried alone"
    assert losses.lost(ONE, "its process ended", running=0) is None
    for _ in range(20):
        assert losses.lost(ONE, "its node is gone", running=0, counts=False) is None
    error = losses.lost(ONE, "its process ended", running=0)
    assert error == "its process ended: 4 times at one step, the last 2 with no other trial running"
    machine.now = 2e6
    for _ in range(8):
        losses.ended()
    assert losses.may_start(5), "nobody has to be tried alone any more"


def test_progress_clears_a_trial(losses: Losses) -> None:
    for _ in range(10):
        assert losses.lost(ONE, "its process ended", running=0) is None
        assert losses.lost(ONE, "its process ended", running=0) is None
        assert losses.lost(ONE, "its process ended", running=0) is None
        losses.moved_on(ONE)


def test_a_lost_trial_is_the_next(study_: Study) -> None:
    first, second = study_.next(), study_.next()
    assert isinstance(first, Assignment)
    assert isinstance(second, Assignment)
    study_.give_back(first.key)
    assert study_.next() == first
    assert not study_.finished()


@pytest.mark.parametrize(
    ("cause", "said", "counts"),
    [
        ("Task was killed due to the node running low on memory.", "no memory left", True),
        ("the node died", "its node is gone", False),
        ("The actor died because its node has died.", "its node is gone", False),
        ("The actor is dead: worker exit", "its process ended", True),
        (None, "no memory left", True),
    ],
)
def test_reasons(cause: str | None, said: str, counts: bool) -> None:
    found, may = reason(cause)
    assert said in found
    assert may == counts


def test_the_memory_of_this_machine() -> None:
    assert 0 < memory.free() < memory.total()
    mine = memory.largest_other()
    assert mine is None or mine.startswith("process ")
