"""Early stopping: asynchronous successive halving that considers deployed parameters.

Li et al. (2020), "A System for Massively Parallel Hyperparameter Tuning", https://arxiv.org/abs/1810.05934. The rungs
(the steps at which trials may be stopped) are the evaluations nearest to max_steps / eta^k. Difference from the paper:
a trial is compared only with the trials of its method that deploy at most as many parameters, so a more expensive
configuration never stops a cheaper one. It is stopped if there are at least `eta` of them and it is not in the top
1/eta.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from search.config.study_config import SearchConfig, TrainingConfig


class SuccessiveHalving:
    """The rule of early stopping with a study's settings.

    Args:
        search: the section `search`: whether trials are stopped early, and eta.
        training: the section `training`: steps and evaluations.
    """

    def __init__(self, search: SearchConfig, training: TrainingConfig) -> None:
        self._eta = search.eta
        found = rungs(training.max_steps, training.eval_steps, search.eta)
        self._rungs = found if search.early_stopping else ()

    def stops(self, step: int, score: float, deployed: int, others: Iterable[tuple[float, int]]) -> bool:
        """Whether a trial is stopped at a step.

        Args:
            step: the step of its latest evaluation.
            score: its validation score at that step, higher is better.
            deployed: its number of deployed parameters.
            others: (score at the same step, deployed parameters) of the other trials of its method.
        """
        if step not in self._rungs:
            return False
        peers = [other for other, parameters in others if parameters <= deployed]
        return falls_behind(score, peers, self._eta)


def rungs(max_steps: int, eval_steps: int, eta: int) -> tuple[int, ...]:
    """The steps at which a trial may be stopped, ascending; the last step is none of them."""
    found = set()
    step = max_steps / eta
    while step >= eval_steps:
        found.add(round(step / eval_steps) * eval_steps)
        step /= eta
    return tuple(sorted(rung for rung in found if 0 < rung < max_steps))


def falls_behind(value: float, peers: Sequence[float], eta: int) -> bool:
    """Whether a trial is stopped at a rung.

    Args:
        value: the trial's score at the rung, higher is better.
        peers: scores there of the other trials of its method that deploy at most as many parameters.
        eta: the factor of successive halving.
    """
    if len(peers) < eta:
        return False
    allowed = max(1, (len(peers) + 1) // eta)
    better = sum(peer > value for peer in peers)
    return better >= allowed
