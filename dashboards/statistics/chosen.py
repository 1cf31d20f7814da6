"""The score of a method that was recommended because of its scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dashboards.statistics.joint import Estimate, Joint
from dashboards.statistics.sample import FloatArray

DRAWS = 4000


def recommended(
    means: FloatArray, errors: FloatArray, allowed: NDArray[np.bool_] | None = None
) -> FloatArray:
    """[N] The cheapest method whose shortfall against the leader is within one standard error of the leader's score.

    Breiman, Friedman, Olshen & Stone, Classification and Regression Trees (1984), section 3.4.3.

    Args:
        means: [N, M] of N studies, the cheapest method first.
        errors: [M] standard errors of the methods' scores, 0 where there is none.
        allowed: [M] whether a method may be recommended; None: all.
    """
    leader = means.argmax(axis=1)
    shortfall = means.max(axis=1)[:, None] - means
    near = (shortfall <= errors[leader][:, None]) & (True if allowed is None else allowed)
    near[np.arange(len(means)), leader] = True
    return np.asarray(near.argmax(axis=1))


def errors(joint: Joint) -> FloatArray:
    """[M] Standard errors of the methods' scores; 0 where there is none."""
    return np.array([joint.mean(index).error or 0.0 for index in range(len(joint.samples))])


def corrected(joint: Joint, index: int) -> Estimate:
    """The mean of the recommended method, corrected for having been chosen; its interval is that of `joint`.

    The method with the highest mean had luck. How much is seen in studies that are drawn around the means found, with their errors:
    by how much the recommended one of each scores above its own mean. Tibshirani & Tibshirani, A bias correction for the minimum
    error rate in cross-validation, Annals of Applied Statistics 3 (2009), with drawn instead of held-out folds.
    """
    found = joint.mean(index)
    if not found.error or len(joint.samples) < 2:  # without a spread there is no luck
        return found
    # what a search found is no luck of its score: only seeds and examples are drawn anew
    joint = Joint(joint.samples)
    rng = np.random.default_rng(0)
    noise = rng.multivariate_normal(np.zeros(len(joint.means)), joint.covariance, DRAWS, method="eigh")
    drawn = joint.means + noise - noise.mean(axis=0)  # so that one that is always picked has no luck
    taken = recommended(drawn, errors(joint))
    luck = float((drawn[np.arange(DRAWS), taken] - joint.means[taken]).mean())
    assert found.ci_low is not None
    assert found.ci_high is not None
    return replace(found, mean=found.mean - luck, ci_low=found.ci_low - luck, ci_high=found.ci_high - luck)
