"""What is to be expected of a configuration that was tried, over the seeds and rows that there could be.

The score of a trial is also the luck of its seed and of the validation rows, and the best of many scores is the luckiest. A Gaussian
process of all trials of a method takes what lies near a configuration into account too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import NamedTuple

from optuna.distributions import BaseDistribution

from methods.space import Scalar
from search.strategy.gaussian_process import Encoding, GaussianProcess

_MOST_BEST, _MOST_LATEST = 30, 50
"""Of more trials than these, the best and the latest make the process, since it takes time with the cube of their number."""
_DIGITS = 6
"""Of an expected score, so that it is the same on every machine."""


class Ended(NamedTuple):
    """A trial that has ended.

    Attributes:
        number: of the trial.
        params: what is searched of its configuration.
        score: its validation score; None if it was stopped early or failed.
        curve: its validation scores by step; empty if it failed.
        chance: the score up to which it has not shown that it learned anything; -inf if it is not known.
    """

    number: int
    params: Mapping[str, Scalar]
    score: float | None
    curve: Mapping[int, float]
    chance: float = -math.inf


def expected_scores(trials: Sequence[Ended]) -> dict[int, float]:
    """The score that each trial has or would have had, by number; higher is better.

    A trial that was stopped early would have risen as much as the complete ones did from that step on. One without any score, since
    it failed, counts as the worst. Scores of which none shows that something was learned are equal: what they differ in is noise,
    and a search that follows it stays where nothing is learned. Empty if no trial has a score.
    """
    complete = [trial for trial in trials if trial.score is not None]
    found = {trial.number: trial.score for trial in complete if trial.score is not None}
    for trial in trials:
        if trial.score is None and trial.curve:
            step = max(trial.curve)
            rises = [found[other.number] - other.curve[step] for other in complete if step in other.curve]
            found[trial.number] = trial.curve[step] + (mean(rises) if rises else 0.0)
    worst = min(found.values(), default=None)
    if worst is None:
        return {}
    chance = max(trial.chance for trial in trials)
    return {trial.number: max(found.get(trial.number, worst), chance) for trial in trials}


def few(trials: Sequence[Ended], scores: Mapping[int, float]) -> list[Ended]:
    """The best and the latest of many trials."""
    best = sorted(trials, key=lambda trial: -scores[trial.number])[:_MOST_BEST]
    kept = {trial.number: trial for trial in (*best, *trials[-_MOST_LATEST:])}
    return [kept[number] for number in sorted(kept)]


def expected_of_complete(
    trials: Iterable[Ended], distributions: Mapping[str, BaseDistribution]
) -> dict[int, float]:
    """The mean of the Gaussian process at the complete trials, by number; of many, at the best and the latest.

    Args:
        trials: that have ended, of one method.
        distributions: the distribution of each hyperparameter that is searched.
    """
    ended = list(trials)
    scores = expected_scores(ended)
    known = few(ended, scores) if scores else []
    complete = [trial for trial in known if trial.score is not None]
    if not complete or not distributions:
        return {trial.number: scores[trial.number] for trial in complete}
    process = GaussianProcess(
        Encoding(distributions), [each.params for each in known], [scores[each.number] for each in known]
    )
    means = process.mean([trial.params for trial in complete])
    return {trial.number: round(float(score), _DIGITS) for trial, score in zip(complete, means, strict=True)}
