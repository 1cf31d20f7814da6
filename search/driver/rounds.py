"""A round of training with Ray Tune: until nothing is left to train, a limit is reached, or a signal comes.

The search and the finalists are one round. Extra seeds are decided on after a round, and are another.
"""

from __future__ import annotations

import tempfile
import threading

from ray import tune
from rich.console import Console

from search.driver import trainable
from search.driver.budget import Budget
from search.driver.gauges import Gauges
from search.driver.progress import Progress
from search.driver.tune import HalvingScheduler, StudySearcher, StudyStopper
from search.errors import HaltedError, PromptfrontError
from search.study.study import Study

# Turns off Tune's own output, loggers, signal handler and snapshots, which we replace. The timeout is longer than
# Tune's two seconds, because a trial that takes longer to shut down would lose its slot for good.
SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""Environment variables that Ray must find before it starts."""


def train(
    study: Study, console: Console, request: dict[str, float], at_once: int, interrupted: threading.Event
) -> bool:
    """Runs the trials that the study asks for.

    Args:
        study: the study.
        console: where progress is shown.
        request: the resources of a trial, as Ray names them.
        at_once: how many trials may run at once.
        interrupted: an event that a signal sets.

    Returns:
        Whether hours or GPU-hours were used up before the end.

    Raises:
        HaltedError: no trial can continue.
    """
    searcher = StudySearcher(study)
    searcher.limit = at_once
    budget = Budget(study, request.get("gpu", 0.0))
    stopper = StudyStopper(searcher, interrupted, budget)
    with tempfile.TemporaryDirectory() as folder, Progress(study, console) as progress:
        _fit(searcher, stopper, progress, request, folder)
    budget.keep()
    if searcher.halted is not None:
        raise HaltedError(searcher.halted)
    return stopper.budget_ended


def _fit(
    searcher: StudySearcher, stopper: StudyStopper, progress: Progress, request: dict[str, float], folder: str
) -> None:
    tuner = tune.Tuner(
        tune.with_resources(trainable.run, request),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=HalvingScheduler(searcher), num_samples=-1, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            stop=stopper,
            callbacks=[progress, Gauges(searcher.study)],
            failure_config=tune.FailureConfig(max_failures=2),  # counted between two evaluations
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except Exception as error:
        raise _ours(error) from error


def _ours(error: BaseException) -> BaseException:
    """The PromptfrontError that Tune has wrapped, or else the error itself."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, PromptfrontError):
        found = found.__cause__ or found.__context__
    return found or error
