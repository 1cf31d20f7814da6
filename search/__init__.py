"""The search over methods. Call `search.run` from Python; the command line is `search/cli/main.py`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

_TELLS_NOBODY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Settings with which these libraries do not tell their makers what is run; MLflow reads its own when it is imported."""

for _name, _value in _TELLS_NOBODY.items():
    os.environ.setdefault(_name, _value)

if TYPE_CHECKING:
    from search.api import Results


def run(config: Any, console: Any = None) -> Results:
    """Runs a study or continues it; see `search.api.run`."""
    from search import api

    return api.run(config, console)
