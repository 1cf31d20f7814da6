"""The search over methods. Call `search.run` from Python; the command line is `search/cli/main.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api import Results


def run(config: Any, console: Any = None) -> Results:
    """Runs a study or continues it; see `search.api.run`."""
    from search import api

    return api.run(config, console)
