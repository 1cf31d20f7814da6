"""A round of training with Ray Tune: until nothing is left to train, a limit is reached, or a signal comes.

The search and the finalists are one round. Extra seeds are decided on after a round, and are another.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import tempfile
import threading
from collections.abc import Iterator

from ray import tune
from rich.console import Console

from search.driver import engines, trainable
from search.driver.budget import Budget
from search.driver.engines import Engines
from search.driver.gauges import Gauges
from search.driver.log import NAME
from search.driver.losses import Losses
from search.driver.progress import Progress
from search.driver.tune import Forgetting, HalvingScheduler, StudySearcher, StudyStopper
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
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""Environment variables that Ray must find before it starts."""


STARTS = 5
"""How often Ray Tune is started in a round, if it ends before the study does."""
_LONGEST = 100
_LIGHT = {"memory": 200.0 * 2**20}
"""The resources of a trial that trains in an engine, which has the cores and the GPU: what its process takes."""


def train(
    study: Study,
    console: Console,
    request: dict[str, float],
    at_once: int,
    interrupted: threading.Event,
    local: bool = True,
) -> None:
    """Runs the trials that the study asks for, until none is left, hours or GPU-hours are used up, or a signal comes.

    Args:
        study: the study.
        console: where progress is shown.
        request: the resources of a trial, or of the trials that share an engine, as Ray names them.
        at_once: how many trials may run at once.
        interrupted: an event that a signal sets.
        local: whether trials run on this machine alone.

    Raises:
        HaltedError: no trial can continue, or Ray Tune ended too often before the study did.
    """
    say = functools.partial(console.print, soft_wrap=True, highlight=False, markup=False)
    losses = Losses(study, at_once, say, local=local, on_gpu="gpu" in request)
    together = study.config.cluster.trials_per_gpu
    budget = Budget(study, request.get("gpu", 0.0) / together)
    with (
        Progress(study, console) as progress,
        _engines(study, request, math.ceil(at_once / together)) as hosts,
    ):
        for start in range(1, STARTS + 1):
            searcher = StudySearcher(study, losses, hosts)
            stopper = StudyStopper(searcher, interrupted, budget)
            ended = _fit(searcher, stopper, progress, request)
            budget.keep()
            if searcher.halted is not None:
                raise HaltedError(searcher.halted)
            if searcher.stopping or study.finished() or study.out_of_trials:
                return
            logging.getLogger("ray").error("Ray Tune ended before the study: %s", ended)
            why = f"Ray Tune ended before the study ({_short(ended)}; more in {study.config.folder / NAME})"
            say(f"{why}; starting it again ({start} of {STARTS - 1})" if start < STARTS else why)
            for key in searcher.keys.values():
                study.give_back(key)
                if hosts is not None:
                    hosts.take_back(key)
    raise HaltedError(
        f"Ray Tune ended {STARTS} times before the study was finished. Nothing is lost: launch again to continue"
    )


@contextlib.contextmanager
def _engines(study: Study, request: dict[str, float], count: int) -> Iterator[Engines | None]:
    """The engines of a round, if several trials share one."""
    if study.config.cluster.trials_per_gpu == 1:
        yield None
        return
    hosts = Engines(study.config.model_dump_json(), request, count)
    try:
        yield hosts
    finally:
        hosts.close()


def _fit(
    searcher: StudySearcher, stopper: StudyStopper, progress: Progress, request: dict[str, float]
) -> Exception | None:
    """Runs Ray Tune to its end; returns the error with which it ended, unless it is one of ours, which is raised."""
    with tempfile.TemporaryDirectory() as folder:
        packed = searcher.engines is not None
        tuner = tune.Tuner(
            tune.with_resources(engines.run, _LIGHT)
            if packed
            else tune.with_resources(trainable.run, request),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=HalvingScheduler(searcher), num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=folder,
                stop=stopper,
                callbacks=[progress, Gauges(searcher.study), Forgetting()],
                failure_config=tune.FailureConfig(max_failures=0),  # what is lost goes back to the study
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except Exception as error:
            ours = _ours(error)
            if ours is not None:
                raise ours from error
            return error
    return None


def _short(error: Exception | None) -> str:
    """The first line of an error, cut."""
    first = str(error or "without an error").partition("\n")[0].removeprefix("Caught unexpected exception: ")
    return first if len(first) <= _LONGEST else first[: _LONGEST - 3] + "..."


def _ours(error: BaseException) -> PromptfrontError | None:
    """The PromptfrontError that Tune has wrapped, if there is one."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, PromptfrontError):
        found = found.__cause__ or found.__context__
    return found
