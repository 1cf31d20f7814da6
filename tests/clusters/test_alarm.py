"""What Ray's own handler of SIGTERM leaves behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time, ray
from clusters.connect import cancel_alarm
ray.init(num_cpus=1, include_dashboard=False)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except SystemExit:
    if sys.argv[1] == "forget":
        cancel_alarm()
    time.sleep(5)  # as a clean stop takes
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("told", "code"), [("forget", 0), ("let", -6)])
def test_ray_aborts_what_takes_longer_than_its_alarm(told: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, told], capture_output=True, text=True, timeout=150)
    assert done.returncode == code, done.stderr
