"""Trains the jobs of one study that share a process: they take their steps together, on one frozen model.

A job keeps what is its own: its trial, its checkpoints, its reports. It joins and leaves between two steps, and the others do not
notice. `train` is an engine with a single job.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Sequence
from statistics import mean

import torch

from search.config.study_config import StudyConfig
from search.job import Job, Report
from search.training import checkpoint, latency
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from search.training.out_of_memory import out_of_memory
from search.training.peak_memory import PeakMemory
from search.training.steps.pack import Pack
from search.training.trial import DivergedError, Trial
from search.training.worker import Resources, build, load, scored, study_config


class Attached:
    """A job in an engine.

    Attributes:
        job: the job.
        trial: its trial; None while it waits for memory, and once it has ended.
        error: why it could not go on, if it could not.
        ended: whether the engine is done with it.
    """

    def __init__(self, job: Job, report: Callable[[Report], object], received: Callable[[], object]) -> None:
        self.job, self.report, self.received = job, report, received
        self.folder = CheckpointFolder(job.folder)
        self.trial: Trial | None = None
        self.error: Exception | None = None
        self.ended = False
        self.losses: list[float] = []
        self.seconds = 0.0
        """Of the steps since the last report: the job's share of the time that they took."""
        self.reported_seconds = 0.0
        """The trial's at the last report."""

    @property
    def running(self) -> bool:
        """Whether its trial takes steps."""
        return self.trial is not None and not self.ended

    def end(self, error: Exception | None = None) -> None:
        self.error, self.ended = error, True


class Engine:
    """Trains jobs of one study together.

    An error of one job, such as a loss that is not finite, ends that job only. Where memory runs out, fewer rows run at once;
    if that does not help, the job that came last waits until another one has ended, and goes on from its checkpoint.

    Args:
        study: the study's configuration as JSON.

    Attributes:
        attached: the jobs that have not ended, in the order in which they came.
    """

    def __init__(self, study: str) -> None:
        self._study = study_config(study)
        self._resources = load(study)
        self._packs: dict[int, Pack] = {}
        self._memory: PeakMemory | None = None
        self._room = True
        """Whether a job that waits may be tried: since one waits, another has ended."""
        self.attached: list[Attached] = []

    def attach(
        self,
        job: Job,
        report: Callable[[Report], object],
        received: Callable[[], object] = lambda: None,
    ) -> Attached:
        """Takes a job from the next step on, from its checkpoint if there is one.

        Args:
            job: the job; its study must be the engine's.
            report: called at every evaluation, after the checkpoint was written.
            received: called before a checkpoint is written; returns when what was reported before has arrived. If the process
                ends, the report that the last checkpoint holds is made again, and no other one.

        Raises:
            CheckpointFolderError: its checkpoints cannot be read.
        """
        one = Attached(job, report, received)
        if not self.attached:
            self._memory = PeakMemory(self._resources.backbone.device)
        self._begin_or_wait(one)
        self.attached.append(one)
        return one

    def detach(self, one: Attached) -> None:
        """Lets a job go before its end; it can go on later, from its last checkpoint."""
        self._leave(one)
        one.end()
        self.attached.remove(one)
        self._room = True

    def turn(self) -> list[Attached]:
        """Takes a step of every job, then the evaluations that are due; returns the jobs that have ended."""
        for pack in list(self._packs.values()):
            if pack.trials:
                self._step(pack)
        for one in self.attached:
            if one.running:
                self._guarded(one, self._evaluate)
        ended = [one for one in self.attached if one.ended]
        for one in ended:
            self._leave(one)
            self.attached.remove(one)
        self._room = self._room or bool(ended) or not self._packs
        waiting = next((one for one in self.attached if one.trial is None), None)
        if waiting is not None and self._room:
            self._guarded(waiting, self._begin_or_wait)
        return ended

    def _begin_or_wait(self, one: Attached) -> None:
        """Begins a job; if memory runs out, the job waits for another one to end."""
        try:
            self._begin(one)
        except Exception as error:
            if not self._packs or not out_of_memory(error):
                raise
            self._wait(one)

    def _wait(self, one: Attached) -> None:
        self._leave(one)
        self._room = False

    def _begin(self, one: Attached) -> None:
        """Builds the job's trial and puts it where its last checkpoint left it."""
        one.trial = trial = build(one.job, self._resources)
        one.losses, one.seconds = [], 0.0
        restored = checkpoint.restore(trial, one.folder)
        if restored is not None and restored.report is not None:
            # Report it again: the last process may have ended before the driver received it.
            one.report(dataclasses.replace(restored.report, checkpoint=restored.path, resumed=True))
        elif not trial.parameters or trial.done:  # nothing to train: a frozen model that writes
            trial.step = self._study.training.max_steps
            self._report(one, scored(trial, None, self._study, self._resources))
        one.reported_seconds = trial.seconds
        if trial.done:
            one.end()
        else:
            self._packs.setdefault(trial.pack_key, Pack()).attach(trial)

    def _leave(self, one: Attached) -> None:
        """Takes the job's trial out of its pack."""
        trial, one.trial = one.trial, None
        pack = None if trial is None else self._packs.get(trial.pack_key)
        if trial is None or pack is None or trial not in pack.trials:
            return
        pack.detach(trial)
        if not pack.trials:
            del self._packs[trial.pack_key]

    def _guarded(self, one: Attached, work: Callable[[Attached], None]) -> None:
        """Does something for one job, whose error is its own; if memory runs out, again with fewer jobs."""
        while True:
            try:
                return work(one)
            except Exception as error:
                if not (out_of_memory(error) and self._give_way(self.attached)):
                    return one.end(error)
                if not one.running:
                    return None  # it came last, and waits itself

    def _step(self, pack: Pack) -> None:
        """Takes a step of a pack."""
        started = time.perf_counter()
        found = self._losses(pack)
        seconds = time.perf_counter() - started
        jobs = {id(one.trial): one for one in self.attached if one.running}
        for trial, loss in found.items():
            one = jobs[id(trial)]
            one.seconds += seconds / len(found)
            if isinstance(loss, DivergedError):
                one.end(loss)
            else:
                one.losses.append(loss)

    def _losses(self, pack: Pack) -> dict[Trial, float | DivergedError]:
        """Each trial's loss; if memory runs out, with fewer rows at once, then with fewer trials. Empty if none is left."""
        while pack.trials:
            drawn = [trial.generator.get_state() for trial in pack.trials]
            try:
                return dict(zip(pack.trials, pack.step(), strict=True))
            except Exception as error:
                for trial, state in zip(pack.trials, drawn, strict=True):
                    trial.generator.set_state(state)
                pack.forget()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                if out_of_memory(error) and pack.halve():
                    continue
                mine = [one for one in self.attached if one.trial in pack.trials]
                # Memory is shared by all packs; any other error has its reason in a trial of this one.
                if not self._give_way(self.attached if out_of_memory(error) else mine):
                    mine[0].end(error)
                    break
        return {}

    def _give_way(self, jobs: Sequence[Attached]) -> bool:
        """Lets the one of the jobs that came last wait; returns False if at most one of them is running."""
        running = [one for one in jobs if one.running]
        if len(running) > 1:
            self._wait(running[-1])
        return len(running) > 1

    def _evaluate(self, one: Attached) -> None:
        """Evaluates the job's trial if that is due, and ends the job after the last step."""
        trial = one.trial
        assert trial is not None
        if not one.losses or not (trial.done or trial.step % self._study.training.eval_steps == 0):
            return
        started = time.perf_counter()
        found = scored(trial, mean(one.losses), self._study, self._resources)
        trial.seconds = one.reported_seconds + one.seconds + time.perf_counter() - started
        together = {
            "gradient_accumulation_steps": self._packs[trial.pack_key].gradient_accumulation_steps,
            "trials_together": sum(other.running for other in self.attached),
        }
        metrics = {name: float(count) for name, count in together.items() if count > 1}
        found = dataclasses.replace(found, metrics=found.metrics | metrics)
        assert self._memory is not None
        found = dataclasses.replace(
            found,
            seconds=trial.seconds,
            step_seconds=one.seconds / len(one.losses),
            peak_memory_bytes=self._memory.bytes(),
        )
        self._report(one, found)
        one.losses, one.seconds, one.reported_seconds = [], 0.0, trial.seconds
        if trial.done:
            one.end()

    def _report(self, one: Attached, found: Report) -> None:
        """Writes the job's checkpoint, then reports."""
        assert one.trial is not None
        found = dataclasses.replace(found, latency_seconds=_latency(one.trial, self._study, self._resources))
        one.received()
        one.report(dataclasses.replace(found, checkpoint=checkpoint.save(one.trial, one.folder, found)))


def failure(error: Exception) -> Report:
    """The report that says why a trial cannot go on."""
    if isinstance(error, DivergedError):
        return Report(error=f"diverged: {error}")
    if isinstance(error, CheckpointFolderError):
        return Report(error=str(error), stops_study=True)
    if out_of_memory(error):
        return Report(error=f"out of memory even with one row at a time: {error}", out_of_memory=True)
    text = "".join(traceback.format_exception(error))
    return Report(error=f"{type(error).__name__}: {error}\n\n{text}")


def train(job: Job, report: Callable[[Report], object]) -> None:
    """Trains a trial to its end, alone, from its checkpoint if there is one.

    Args:
        job: the trial to train.
        report: called at every evaluation, after the checkpoint was written.

    Raises:
        DivergedError: the loss, the gradient or a score is not finite.
        CheckpointFolderError: its checkpoints cannot be written or read.
    """
    engine = Engine(job.study)
    one = engine.attach(job, report)
    while not one.ended:
        engine.turn()
    if one.error is not None:
        raise one.error


def _latency(trial: Trial, study: StudyConfig, resources: Resources) -> float | None:
    """Measures the latency at the end of a trial if it is an objective; does not change the trial."""
    if not trial.done or "latency_seconds" not in study.search.measured_costs:
        return None
    trained = trial.method
    try:
        with torch.no_grad():
            trial.method = trained.deployed(trial.backbone)
        return latency.latency(trial, resources.tasks, resources.backbone)
    finally:
        trial.method = trained
