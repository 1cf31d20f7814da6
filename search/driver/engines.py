"""Engines on a Ray cluster, each of which trains several trials, and the light trials of Ray Tune that run there.

An engine is an actor with the cores and GPUs that one trial would have (`search/training/engine.py`). A trial stays what it is to Tune, one
configuration with its own reports and end: it attaches its job to the engine that it was given, passes the reports on, and lets
the job go when Tune stops it. This module needs no torch, so such a trial takes little memory.
"""

from __future__ import annotations

import functools
import os
import queue
import sys
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import ray
from ray import tune

from search.job import Job

if TYPE_CHECKING:
    from search.study.records import Key
    from search.training.engine import Attached, Engine

ENGINE = "engine"
"""Name of what a trial's config has beside its job: its `Place` as a dict."""


class Place(NamedTuple):
    """Where a trial trains: the name of an engine, the trial's name there, which no other start of it has, and how many came before."""

    engine: str
    name: str
    number: int


class Engines:
    """The engines of a round.

    Args:
        study: the study's configuration as JSON.
        request: the resources of each, as Ray names them.
        count: how many there are.
    """

    def __init__(self, study: str, request: dict[str, float], count: int) -> None:
        self._running = Counter[str]()
        self._places: dict[Key, Place] = {}
        self._given = 0
        self._lost: dict[str, int] = {}
        self._hosts: dict[str, Any] = {}
        for _ in range(count):
            name = f"engine-{uuid.uuid4().hex}"
            self._running[name] = 0
            self._hosts[name] = (
                ray.remote(Host)
                .options(
                    name=name,
                    num_cpus=request["cpu"],
                    num_gpus=request.get("gpu", 0.0),
                    max_restarts=-1,
                    max_concurrency=1000,  # threads, most of which wait for a report
                )
                .remote(study)
            )

    def give(self, key: Key) -> Place:
        """A place for a trial, in one of the engines with the fewest trials."""
        engine, _ = min(self._running.items(), key=lambda each: each[1])
        self._running[engine] += 1
        self._places[key] = Place(engine, f"{key}-{uuid.uuid4().hex}", self._given)
        self._given += 1
        return self._places[key]

    def take_back(self, key: Key) -> Place | None:
        """The trial has ended, or its process is gone: the engine lets its job go, if it still has it.

        Returns:
            Where it was; None if it was nowhere.
        """
        place = self._places.pop(key, None)
        if place is not None:
            self._running[place.engine] -= 1
            self._hosts[place.engine].detach.remote(place.name)
        return place

    def first_loss(self, place: Place) -> bool:
        """Whether a lost trial is the first of those that its engine had: the others were lost with it."""
        first = place.number >= self._lost.get(place.engine, 0)
        if first:
            self._lost[place.engine] = self._given
        return first

    def close(self) -> None:
        """Ends all engines; their jobs can go on from their checkpoints."""
        for host in self._hosts.values():
            ray.kill(host)


class Line:
    """The reports of a job on their way to its trial, at most one at a time."""

    def __init__(self) -> None:
        self._reports: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._received = threading.Event()
        self._received.set()

    def put(self, report: dict[str, Any] | None) -> None:
        self._received.clear()
        self._reports.put(report)

    def get(self) -> dict[str, Any] | None:
        """Waits for the next report. Who asks for it has passed on the last one."""
        self._received.set()
        return self._reports.get()

    def wait(self) -> None:
        """Until the last report has been passed on, or nobody listens any more."""
        self._received.wait()

    def end(self) -> None:
        """Nobody listens any more."""
        self._reports.put(None)
        self._received.set()


class Host:
    """An engine in an actor. A thread takes its turns; calls of several trials wait for the end of one.

    Args:
        study: the study's configuration as JSON.
    """

    def __init__(self, study: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[Engine], None]] = queue.SimpleQueue()
        self._lines: dict[str, Line] = {}
        self._attached: dict[str, Attached] = {}
        threading.Thread(target=self._work, args=[study], daemon=True).start()

    def attach(self, name: str, job: dict[str, Any]) -> None:
        """Takes a job under a name, which the other calls have too."""
        self._lines[name] = Line()
        self._calls.put(functools.partial(self._attach, name, Job(**job)))

    def next(self, name: str) -> dict[str, Any] | None:
        """Waits for the next report of a job; None once it has ended, or was detached."""
        return self._lines[name].get()

    def detach(self, name: str) -> None:
        """Lets a job go, if it is there."""
        if (line := self._lines.pop(name, None)) is not None:
            line.end()  # at once: the thread may wait for it
        self._calls.put(functools.partial(self._detach, name))

    def _work(self, study: str) -> None:
        """Takes turns as long as there are jobs. An error that is no job's ends the process, and with it the jobs are lost."""
        try:
            from search.training.engine import Engine

            engine = Engine(study)
            while True:
                while not engine.attached or not self._calls.empty():
                    self._calls.get()(engine)
                names = {one: name for name, one in self._attached.items()}
                for one in engine.turn():
                    self._end(names[one], one.error)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def _attach(self, name: str, job: Job, engine: Engine) -> None:
        for other, one in list(self._attached.items()):
            if one.job.folder == job.folder:  # an earlier start of the same trial, whose process is gone
                self.detach(other)
                self._detach(other, engine)
        line = self._lines.get(name)
        if line is None:  # detached meanwhile
            return
        try:
            self._attached[name] = engine.attach(job, lambda report: line.put(report.to_result()), line.wait)
        except Exception as error:
            self._end(name, error)

    def _detach(self, name: str, engine: Engine) -> None:
        if (one := self._attached.pop(name, None)) is not None:
            engine.detach(one)

    def _end(self, name: str, error: Exception | None) -> None:
        """Tells a job's trial that there are no more reports, and why."""
        from search.training.engine import failure

        self._attached.pop(name, None)
        if (line := self._lines.get(name)) is not None:
            if error is not None:
                line.put(failure(error).to_result())
            line.put(None)


def run(config: dict[str, Any]) -> None:
    """A light trial: what Ray Tune calls in place of `trainable.run`."""
    place = Place(**config[ENGINE])
    host = ray.get_actor(place.engine)
    ray.get(host.attach.remote(place.name, {name: value for name, value in config.items() if name != ENGINE}))
    while (report := ray.get(host.next.remote(place.name))) is not None:
        tune.report(report)
