"""Before a release: a neighbour takes the memory while a study runs (make test-release)."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from search.plan import memory
from tests.search.conftest import write_study
from tests.search.launches import outcomes, run, start, states, wait_until

pytestmark = [pytest.mark.release, pytest.mark.timeout(1200)]

ROOM, TAKEN, SECONDS = 5.0, 5.5, 40
"""GiB that the study may use, and that the neighbour takes, for so many seconds."""
_NEIGHBOUR = (
    "import sys, time; held = bytearray(int(float(sys.argv[1]) * 2**30)); time.sleep(float(sys.argv[2]))"
)


def test_a_spike_of_a_neighbour_loses_nothing(study: dict[str, Any], tmp_path: Path) -> None:
    """Before, half of the search failed within a minute, and the verdict was false."""
    study["training"] = {**study["training"], "max_steps": 600, "eval_steps": 60}
    study["search"] = {"trials_per_method": 4, "early_stopping": False, "sampler": "random"}
    study["cluster"] = {"max_concurrent_trials": 2}
    write_study(study, tmp_path)
    code, quiet = run("launch", "study.yaml", "--set", "output_dir=quiet", cwd=tmp_path)
    assert code == 0

    used = psutil.virtual_memory().total - psutil.virtual_memory().available
    threshold = f"{(used + ROOM * 2**30) / memory.total():.3f}"
    spike = ("--set", "output_dir=spike")
    process = start("launch", "study.yaml", *spike, cwd=tmp_path, RAY_memory_usage_threshold=threshold)
    storage = f"sqlite:///{tmp_path}/spike/optuna.db"
    wait_until(lambda: states(tmp_path, storage)["RUNNING"] == 2, process)
    time.sleep(5)
    subprocess.run([sys.executable, "-c", _NEIGHBOUR, str(TAKEN), str(SECONDS)], check=True)
    said = tmp_path / "launch.log"
    assert process.wait(600) == 0, said.read_text()

    print(said.read_text())
    assert "Waiting for memory" in said.read_text(), "the neighbour is meant to be felt"
    assert "FAIL" not in states(tmp_path, storage)
    assert outcomes(tmp_path, "quiet") == outcomes(tmp_path, "spike")
    assert len(said.read_text().splitlines()) <= len(quiet.splitlines()) + 10
