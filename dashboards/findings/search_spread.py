"""How much the search adds to the variance of a method's score.

A claim about methods must hold for another search too, which would have ended with other configurations. Of each method two
or more configurations are retrained and tested. Half the squared difference of the chosen one and the next estimates the
variance between configurations that a search may end with; it is pooled over the methods. Two things are taken off. A
difference counts as at most three times the median one: where the next configuration is far worse, the search has found something
rare, and another would not end with what is left. And what the same rule gives for configurations that do not differ, from
the noise of their scores.

On simulated searches the square root of it is near the true standard deviation of what repeated searches end with
(docs/answer_quality.md). Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021.
"""

from __future__ import annotations

import numpy as np

from dashboards.findings.samples import tested_sample
from dashboards.rows import Rows
from dashboards.statistics.joint import Joint, SearchSpread
from dashboards.statistics.sample import FloatArray

LARGEST = 3.0
"""A difference counts as at most so many times the median one."""
DRAWS = 4000


def search_spread(rows: Rows) -> SearchSpread | None:
    """The spread, or None where no method has two tested configurations."""
    found = []
    for method in rows["methods"]:
        mine = [f for f in rows["finalists"] if f["method"] == method["method"] and f["role"] != "default"]
        mine.sort(key=lambda finalist: not finalist["chosen"])
        samples = [sample for finalist in mine if (sample := tested_sample(rows, finalist)) is not None]
        if len(samples) < 2 or not mine[0]["chosen"]:
            continue
        estimate = Joint(samples[:2]).difference(0, 1)
        if estimate.error is not None:
            found.append((estimate.mean, estimate.error))
    if not found:
        return None
    differences, errors = np.array(found).T
    raw = float(_variance(differences[None])[0])
    noise = float(_variance(np.random.default_rng(0).normal(0, errors, (DRAWS, len(errors)))).mean())
    return SearchSpread(max(raw - noise, 0.0), raw, float(len(found)))


def _variance(differences: FloatArray) -> FloatArray:
    """[N] Half the mean square of [N, M] differences, none larger than `LARGEST` times the median."""
    sizes = np.abs(differences)
    most = LARGEST * np.median(sizes, axis=1, keepdims=True)
    return np.asarray((np.minimum(sizes, most) ** 2).mean(axis=1) / 2)
