"""How often a repeated study would recommend the same method."""

from __future__ import annotations

import numpy as np

from dashboards.findings.contest import Contest
from dashboards.findings.samples import tested_sample
from dashboards.rows import Rows, finite
from dashboards.statistics import chosen
from dashboards.statistics.sample import FloatArray

DRAWS = 2000


def stability(found: Contest) -> float | None:
    """The share of resampled studies that recommend the same method; None where nothing can be resampled.

    A resampled study has the trials of each method drawn anew with replacement. The best of them by validation is what its search
    would have ended with: the configuration's test mean where it was tested, else the chosen one's less what its trial is behind
    the chosen one's. To this comes the error of new seeds and new examples. Then the rule of the recommendation is applied.
    """
    joint = found.configurations
    if len(found.contenders) < 2 or not np.isfinite(errors := chosen.errors(joint)).all() or not errors.any():
        return None
    rng = np.random.default_rng(0)
    noise = rng.multivariate_normal(np.zeros(len(joint.means)), joint.covariance, DRAWS, method="eigh")
    drawn = joint.means + noise
    for index, contender in enumerate(found.contenders):
        drawn[:, index] += _luck(found.rows, contender.method, contender.mean, rng)
    return float((chosen.recommended(drawn, errors) == found.recommended).mean())


def _luck(rows: Rows, method: str, mean: float, rng: np.random.Generator) -> FloatArray:
    """[DRAWS] What the test mean of the method changes by, with trials drawn anew."""
    mine = [finalist for finalist in rows["finalists"] if finalist["method"] == method]
    tested = {f["number"]: sample.mean for f in mine if (sample := tested_sample(rows, f)) is not None}
    trials = [
        (trial["validation"], trial["number"])
        for trial in rows["trials"]
        if trial["method"] == method and trial["state"] == "COMPLETE" and finite(trial["validation"])
    ]
    known = {number: score for score, number in trials}
    number = next((f["number"] for f in mine if f["chosen"]), None)
    if len(trials) < 2 or number not in known:
        return np.zeros(DRAWS)
    # the chosen one first, then by validation: a study that has the chosen one again chooses it again
    order = sorted(trials, key=lambda trial: (trial[1] != number, -trial[0]))
    changes = np.array(
        [tested[at] - mean if at in tested else min(score - known[number], 0.0) for score, at in order]
    )
    first = rng.integers(0, len(order), (DRAWS, len(order))).min(axis=1)
    return np.asarray(changes[first])
