"""No library tells its makers what is run, unless the user says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import json
import search
from mlflow.telemetry.utils import is_telemetry_disabled
from ray._common.usage.usage_lib import usage_stats_enabled
from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY
print(json.dumps([not is_telemetry_disabled(), usage_stats_enabled(), not HF_HUB_DISABLE_TELEMETRY]))
"""
NAMES = (
    "MLFLOW_DISABLE_TELEMETRY",
    "RAY_USAGE_STATS_ENABLED",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "CI",
)


def told(**environment: str) -> list[bool]:
    """Whether MLflow, Ray and the hub would tell."""
    # MLflow tells nothing of tests.
    kept = [name for name in os.environ if name not in NAMES and not name.startswith("PYTEST")]
    clean = {name: os.environ[name] for name in kept}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean | environment, capture_output=True, text=True, check=True
    )
    found: list[bool] = json.loads(done.stdout)
    return found


def test_nothing_is_told() -> None:
    assert told() == [False, False, False]


def test_a_user_may_tell() -> None:
    chosen = {
        "MLFLOW_DISABLE_TELEMETRY": "false",
        "RAY_USAGE_STATS_ENABLED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "0",
    }
    assert told(**chosen) == [True, True, True]
