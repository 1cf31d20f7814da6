"""Hours and GPU-hours that a study may use over all its launches (the study itself counts trials)."""

from __future__ import annotations

import time
from collections.abc import Callable

from search.study.readings import curve
from search.study.study import Study

_KEEP_INTERVAL = 10.0
"""Seconds between two records of the time; a killed driver loses at most this much, and per GPU."""


class Budget:
    """Counts hours and GPU-hours while trials run.

    Args:
        study: the study, which knows what earlier launches used.
        gpus: GPUs of one trial.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, study: Study, gpus: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._gpus, self._clock = study, gpus, clock
        self._seconds = seconds_used(study)  # of earlier launches
        self._gpu_seconds = study.gpu_seconds
        self._started = self._looked = self._kept = clock()

    def used_up(self, running: int) -> bool:
        """Whether a limit is reached. Call it often: it also counts the GPU time.

        Args:
            running: trials that have held their GPUs since the last call.
        """
        now = self._clock()
        self._gpu_seconds += running * self._gpus * (now - self._looked)
        self._looked = now
        search = self._study.config.search
        ended = (
            search.max_hours is not None and self._seconds + now - self._started > 3600 * search.max_hours
        ) or (search.max_gpu_hours is not None and self._gpu_seconds > 3600 * search.max_gpu_hours)
        if ended or now - self._kept > _KEEP_INTERVAL:
            self.keep()
        return ended

    def keep(self) -> None:
        """Records the time used so far, which a wall clock that is set does not change."""
        self._kept = self._clock()
        self._study.record_seconds(self._seconds + self._kept - self._started)
        if self._gpu_seconds > self._study.gpu_seconds:
            self._study.record_gpu_seconds(self._gpu_seconds)


def seconds_used(study: Study) -> float:
    """Seconds in which trials of earlier launches ran.

    An earlier version did not keep them: then those in which at least one trial ran, each from its start for as long as it
    has measured.
    """
    if (kept := study.seconds) is not None:
        return kept
    spans = []
    for _, each in study.trials():
        if each.datetime_start is not None:
            start = each.datetime_start.timestamp()
            spans.append((start, start + max((e["seconds"] for e in curve(each).values()), default=0.0)))
    used = end = 0.0
    for start, stop in sorted(spans):
        used += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return used
