"""Which methods of a study more seeds might tell apart."""

from __future__ import annotations

from dashboards.rows import Rows


def undecided(rows: Rows) -> list[str]:
    """The methods whose chosen finalists should get more seeds."""
    return []
