"""What a study may use: hours and GPU-hours, over all its launches (trials are counted by the study itself)."""

from __future__ import annotations

import time
from collections.abc import Callable

from search.study.records import curve
from search.study.study import Study

_KEEP_INTERVAL = 10.0
"""Seconds of GPUs that a killed driver may forget, times the GPUs."""


class Budget:
    """Counts while trials run.

    Args:
        study: knows what earlier launches used.
        gpus: that a trial holds.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, study: Study, gpus: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._gpus, self._clock = study, gpus, clock
        self._seconds = seconds_used(study)
        self._gpu_seconds = study.gpu_seconds
        self._started = self._looked = self._kept = clock()

    def used_up(self, running: int) -> bool:
        """Whether a limit is reached; to be asked often.

        Args:
            running: trials that hold their GPUs since it was asked last.
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
        """Records what was used."""
        self._kept = self._clock()
        if self._gpu_seconds > self._study.gpu_seconds:
            self._study.record_gpu_seconds(self._gpu_seconds)


def seconds_used(study: Study) -> float:
    """Time in which trials of earlier launches ran, overlaps counted once."""
    spans = []
    for _, each in study.trials():
        if each.datetime_start is not None:
            start = each.datetime_start.timestamp()
            seconds = max((e["seconds"] for e in curve(each).values()), default=0.0)
            spans.append(
                (start, each.datetime_complete.timestamp() if each.datetime_complete else start + seconds)
            )
    used = end = 0.0
    for start, stop in sorted(spans):
        used += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return used
