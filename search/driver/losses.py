"""Trials that are lost from outside: their process, their node or the machine failed them, not their configuration.

Such a trial is never a result. It waits and goes on from its last checkpoint:

- The first losses make every start wait a little, twice as long each time, until a trial moves on.
- After `MANY` losses in a row without progress, trials run fewer at once; each one that ends gives a place back.
- On this machine nothing starts while too little memory is free for a trial; what it waits for is said once.
- A trial that was lost twice at the same step, with room left in memory, runs alone. If it is lost alone, twice more, the fault is
  its own, and it has failed.

Nothing here is stored: a launch that ends leaves lost trials as it leaves running ones, to be continued by the next.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from search.plan import memory
from search.study.readings import curve
from search.study.records import Key
from search.study.study import Study

TOGETHER, ALONE = 2, 2
"""Losses at one step, beside other trials and then alone, after which a trial has failed."""
MANY = 3
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
_LEAST_NEED = 0.5 * 2**30
"""Bytes that a trial needs at least; where a method's trials were measured, it is their peak."""


class Losses:
    """Keeps count of losses, and says when trials may start.

    Args:
        study: the study.
        most: how many trials may run at once.
        local: whether trials run on this machine, whose memory can be looked at.
        on_gpu: whether they use a GPU; then the memory that was measured is the GPU's.
        say: tells the user a sentence.
    """

    def __init__(
        self, study: Study, most: int, say: Callable[[str], None], *, local: bool = True, on_gpu: bool = False
    ) -> None:
        self._study, self._most, self._say, self._local, self._on_gpu = study, most, say, local, on_gpu
        self._limit = most
        self._in_a_row = 0
        self._not_before = 0.0
        self._together = Counter[Key]()
        self._alone = Counter[Key]()
        self._waiting = False

    def may_start(self, running: int) -> bool:
        """Whether another trial may start beside those that run."""
        if running >= (1 if self._suspects else self._limit) or time.monotonic() < self._not_before:
            return False
        return not self._local or not self._in_a_row or self._room(running)

    def moved_on(self, key: Key) -> None:
        """A trial made progress: what happened to it before was no fault of its own."""
        self._together.pop(key, None)
        self._alone.pop(key, None)
        self._in_a_row, self._not_before = 0, 0.0

    def ended(self) -> None:
        """A trial came to its end, so another may run beside it again."""
        self._limit = min(self._limit + 1, self._most)

    def lost(self, key: Key, why: str, running: int, counts: bool = True, first: bool = True) -> str | None:
        """Counts a loss.

        Args:
            key: the trial.
            why: what happened, in words.
            running: how many other trials run.
            counts: whether the trial itself may be the reason; not so if its node is gone.
            first: whether it is not one of several trials that were lost with one process.

        Returns:
            The error with which it has failed, or None: it may start again.
        """
        if first:
            self._one_more(key, why)
        if not counts or (self._local and memory.free() < self._need(key.method)):
            return None
        (self._alone if running == 0 and self._together[key] >= TOGETHER else self._together)[key] += 1
        if self._alone[key] < ALONE:
            return None
        times = self._together.pop(key) + self._alone.pop(key)
        return f"{why}: {times} times at one step, the last {ALONE} with no other trial running"

    def _one_more(self, key: Key, why: str) -> None:
        """Makes the next start wait, and after many losses in a row fewer trials run at once."""
        self._in_a_row += 1
        pause = min(FIRST_PAUSE * 2 ** (self._in_a_row - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause
        if self._in_a_row % MANY == 0 and self._limit > 1:
            self._limit = max(1, self._limit // 2)
            self._say(f"{self._in_a_row} trials were lost in a row ({why}); now {self._limit} at a time")
        elif self._in_a_row == 1:
            self._say(f"{key} was lost: {why}; it goes on from its last checkpoint")

    @property
    def _suspects(self) -> bool:
        """Whether some trial has to show that it is not the reason itself."""
        return any(count >= TOGETHER for count in self._together.values())

    def _room(self, running: int) -> bool:
        """Whether enough memory is free for another trial; if none runs, says once what it waits for."""
        there, need = memory.free(), max(map(self._need, self._study.config.methods))
        if there >= need:
            self._waiting = False
        elif not running and not self._waiting:
            self._waiting = True
            who = memory.largest_other()
            text = (
                f"Waiting for memory: {memory.gigabytes(there)} free, a trial needs {memory.gigabytes(need)}"
            )
            self._say(f"{text}; {who}" if who else text)
        return there >= need

    def _need(self, method: str) -> float:
        """The most that a trial of a method was seen to use."""
        peaks = [
            evaluation.get("peak_memory_bytes") or 0.0
            for stage in ("search", "finalists")
            for trial in (() if self._on_gpu else self._study.of(method, stage))
            for evaluation in curve(trial).values()
        ]
        return max(peaks, default=0.0) or _LEAST_NEED
