"""How much the search adds to the variance of a method's score.

A claim about methods must hold for another search too, which would have ended with other configurations. Of each method two
or more configurations are retrained and tested. Half the squared difference of the chosen one and the next, minus the
noise of that difference, estimates the variance between configurations that a search may end with; it is pooled over
the methods. Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021.
"""

from __future__ import annotations

import numpy as np

from dashboards.findings.samples import tested_sample
from dashboards.rows import Rows
from dashboards.statistics.joint import Joint, SearchSpread


def search_spread(rows: Rows) -> SearchSpread | None:
    """The spread, or None where no method has two tested configurations."""
    raw, noise = [], []
    for method in rows["methods"]:
        mine = [f for f in rows["finalists"] if f["method"] == method["method"] and f["role"] != "default"]
        mine.sort(key=lambda finalist: not finalist["chosen"])
        samples = [sample for finalist in mine if (sample := tested_sample(rows, finalist)) is not None]
        if len(samples) < 2 or not mine[0]["chosen"]:
            continue
        found = Joint(samples[:2]).difference(0, 1)
        if found.error is not None:
            raw.append(found.mean**2 / 2)
            noise.append(found.error**2 / 2)
    if not raw:
        return None
    return SearchSpread(max(float(np.mean(raw) - np.mean(noise)), 0.0), float(np.mean(raw)), float(len(raw)))
