"""Who may run a study, in its folder and in its storage."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search import lock, study_file
from search.lock import StudyHeldError
from search.study import Study
from tests.search.conftest import write_study


@pytest.fixture
def opened(study: dict[str, Any], tmp_path: Path) -> Study:
    return Study(study_file.load(write_study(study, tmp_path)))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(lock, "TERM", 3.0)
    monkeypatch.setattr(lock, "_RENEWAL", 0.2)
    return []


def test_a_lease_that_is_renewed_refuses_a_second_driver(opened: Study, said: list[str]) -> None:
    with lock.leased(opened, said.append):
        lease = opened.whole("driver")
        elsewhere = {**lease, "host": "another-host", "who": "process 7 on another-host"}
        with lock.leased(_other(opened), said.append) if False else _renewed(opened, elsewhere):
            pass
    assert opened.whole("driver") is None, "and is given back"


def _other(opened: Study) -> Study:
    return Study(opened.config)
