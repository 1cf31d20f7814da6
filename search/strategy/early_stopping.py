"""Early stopping: asynchronous successive halving that knows what a trial deploys.

Li et al. (2020), "A System for Massively Parallel Hyperparameter Tuning", https://arxiv.org/abs/1810.05934. The rungs
are the evaluations nearest to max_steps / eta^k. What differs: at a rung, a trial is compared with the trials of its
method whose deployed parameters are at most its own, so that a configuration is never stopped by a more expensive
one; it is stopped if at least `eta` of them exist and it is outside their top 1/eta.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from search.config.study_config import SearchConfig, TrainingConfig


class SuccessiveHalving:
    """The rule, with a study's settings.

    Args:
        search: whether trials are stopped early, and eta.
        training: steps and evaluations.
    """

    def __init__(self, search: SearchConfig, training: TrainingConfig) -> None:
        self._eta = search.eta
        found = rungs(training.max_steps, training.eval_steps, search.eta)
        self._rungs = found if search.early_stopping else ()

    def stops(self, step: int, score: float, deployed: int, others: Iterable[tuple[float, int]]) -> bool:
        """Whether a trial is stopped at a step.

        Args:
            step: of its evaluation.
            score: its validation score there, higher is better.
            deployed: its deployed parameters.
            others: score at the same step and deployed parameters of the other trials of its method.
        """
        if step not in self._rungs:
            return False
        peers = [other for other, parameters in others if parameters <= deployed]
        return falls_behind(score, peers, self._eta)


def rungs(max_steps: int, eval_steps: int, eta: int) -> tuple[int, ...]:
    """Steps at which a trial may be stopped: evaluations before the end, ascending."""
    found = set()
    step = max_steps / eta
    while step >= eval_steps:
        found.add(round(step / eval_steps) * eval_steps)
        step /= eta
    return tuple(sorted(rung for rung in found if 0 < rung < max_steps))


def falls_behind(value: float, peers: Sequence[float], eta: int) -> bool:
    """Whether a trial that reached a rung with `value` (higher is better) is stopped there.

    Args:
        value: its own.
        peers: values at the rung of the other trials of its method that deploy at most as many parameters.
        eta: of successive halving.
    """
    if len(peers) < eta:
        return False
    allowed = max(1, (len(peers) + 1) // eta)
    better = sum(peer > value for peer in peers)
    return better >= allowed
