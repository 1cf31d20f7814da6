"""Who may run a study that is shared by its storage."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from search.config import study_file
from search.driver import lock
from search.driver.lock import StudyHeldError
from search.study.study import Study
from tests.search.conftest import write_study


@pytest.fixture
def opened(study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(lock, "TERM", 3.0)
    return Study(study_file.load(write_study(study, tmp_path)))


def lease(**changed: Any) -> dict[str, Any]:
    return {"who": "process 7 on far", "host": "far", "process": 7, "token": "t", "renewed": 0, **changed}


def test_a_lease_that_is_renewed_refuses_a_second_driver(opened: Study) -> None:
    opened.record_study_fact("driver", lease())
    renewal = threading.Timer(1.5, opened.record_study_fact, ("driver", lease(renewed=1)))
    renewal.start()
    with pytest.raises(StudyHeldError, match="process 7 on far"), lock.study_lease(opened, print):
        pass
    assert opened.fact_of_study("driver") == lease(renewed=1)


def test_a_lease_that_is_not_renewed_is_waited_for(opened: Study) -> None:
    opened.record_study_fact("driver", lease())
    said: list[str] = []
    with lock.study_lease(opened, said.append):
        assert opened.fact_of_study("driver")["process"] == os.getpid()
    assert "process 7 on far" in said[0]
    assert opened.fact_of_study("driver") is None, "it is given back"


def test_a_process_of_this_host_that_has_ended_is_not_waited_for(opened: Study) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    opened.record_study_fact("driver", lease(host=lock.platform.node(), process=ended.pid))
    said: list[str] = []
    with lock.study_lease(opened, said.append):
        pass
    assert said == []


def test_a_lease_is_renewed(opened: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_RENEWAL", 0.05)
    with lock.study_lease(opened, print):
        first = opened.fact_of_study("driver")["renewed"]
        waited = threading.Event()
        for _ in range(200):
            if opened.fact_of_study("driver")["renewed"] > first:
                break
            waited.wait(0.05)
        assert opened.fact_of_study("driver")["renewed"] > first
