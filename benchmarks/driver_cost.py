"""What a trial costs the driver itself: ask, ten reports, tell, and the writing to MLflow.

    python benchmarks/driver_cost.py [--trials 5000] [--slots 64] [--methods 3] [--reports 10] [--no-mlflow]
    python benchmarks/driver_cost.py --tune --trials 200 --slots 8

Trials are made up and take no time, so all that is measured is ours: the Optuna storage on SQLite, the sampler (TPE), early
stopping, and MLflow on SQLite. The searcher and the scheduler are called as Ray Tune's controller calls them, with `slots`
trials at once. MLflow is written every two seconds, as its thread does, here in turns, so that its time is counted. Prints,
for each tenth of the trials, milliseconds for each trial: by the clock, which other processes and the disk slow down, and of
the processor; and the process's memory.

With `--tune` the same trials, a millisecond a report, run in the workers of a real cluster under Ray Tune. Prints what the
driver's process takes of the processor for each trial, all its threads together: ours as above, and the rest, which is Tune's
controller and Ray.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from search.config.study_config import StudyConfig
from search.driver import rounds
from search.driver.losses import Losses
from search.driver.tune import HalvingScheduler, StudySearcher
from search.study.study import Study
from search.tracking.tracker import Tracker

METHODS = ("prompt_tuning", "p_tuning_v2", "p_tuning", "head_only", "prefix_tuning", "prompt_pool")
PARTS = ("ask", "reports", "tell", "log")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--methods", type=int, default=3)
    parser.add_argument("--reports", type=int, default=10)
    parser.add_argument("--no-mlflow", action="store_true")
    parser.add_argument("--tune", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (run_tune if given.tune else run)(given, Path(folder))


class Meter:
    """Seconds spent in our parts, by the clock and of the processor."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.clock: defaultdict[str, float] = defaultdict(float)
        self.processor: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        clock, processor = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.clock[name] += time.perf_counter() - clock
            self.processor[name] += time.thread_time() - processor


class MeasuredSearcher(StudySearcher):
    def __init__(self, study: Study, slots: int, meter: Meter) -> None:
        super().__init__(study, Losses(study, slots, print))
        self._meter = meter

    def suggest(self, trial_id: str) -> Any:
        with self._meter.part("ask"):
            return super().suggest(trial_id)

    def on_trial_complete(self, *arguments: Any, **named: Any) -> None:
        with self._meter.part("tell"):
            super().on_trial_complete(*arguments, **named)


class MeasuredScheduler(HalvingScheduler):
    def __init__(self, searcher: StudySearcher, meter: Meter) -> None:
        super().__init__(searcher)
        self._meter = meter

    def on_trial_result(self, *arguments: Any) -> str:
        with self._meter.part("reports"):
            return super().on_trial_result(*arguments)


class MeasuredTracker(Tracker):
    def __init__(self, study: Study, meter: Meter) -> None:
        super().__init__(study, 0)
        self._meter = meter

    def sync(self) -> None:
        with self._meter.part("log"):
            super().sync()


def run(given: argparse.Namespace, folder: Path) -> None:
    """Runs the made-up trials, and prints a line for each tenth of them."""
    meter = Meter()
    searcher = MeasuredSearcher(Study(made_config(given, folder)), given.slots, meter)
    scheduler = MeasuredScheduler(searcher, meter)
    tracker = None if given.no_mlflow else MeasuredTracker(searcher.study, meter)
    running: dict[str, Worker] = {}
    ended = begun = 0
    synced = time.perf_counter()
    tenth = given.trials // 10
    while ended < given.trials:
        while len(running) < given.slots and begun < given.trials:
            trial_id = str(begun)
            job = searcher.suggest(trial_id)
            if not isinstance(job, dict):
                break
            running[trial_id] = Worker(job, given.reports)
            begun += 1
        for trial_id, worker in list(running.items()):
            decision = scheduler.on_trial_result(
                None,
                SimpleNamespace(trial_id=trial_id),
                worker.report(),
            )
            if decision == TrialScheduler.STOP or worker.step == given.reports:
                searcher.on_trial_complete(trial_id)
                del running[trial_id]
                ended += 1
                if ended % tenth == 0:
                    if tracker is not None:
                        tracker.sync()
                    show(ended, tenth, meter)
                    meter.clear()
        if tracker is not None and time.perf_counter() - synced > 2:
            tracker.sync()
            synced = time.perf_counter()


def run_tune(given: argparse.Namespace, folder: Path) -> None:
    """Runs the made-up trials under Ray Tune, and prints one line."""
    os.environ.update(rounds.SETTINGS)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it misses the logs that the driver does without
    ray.init(num_cpus=given.slots, include_dashboard=False, log_to_driver=False)
    meter, reports = Meter(), given.reports
    searcher = MeasuredSearcher(Study(made_config(given, folder)), given.slots, meter)

    def trial(job: dict[str, Any]) -> None:
        worker = Worker(job, reports)
        while worker.step < reports:
            time.sleep(0.001)
            tune.report(worker.report())

    tracker = MeasuredTracker(searcher.study, meter)
    scheduler = MeasuredScheduler(searcher, meter)
    tuner = tune.Tuner(
        trial,
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=scheduler, num_samples=given.trials, reuse_actors=True
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(folder / "tune"), verbose=0),
    )
    processor = time.process_time()
    with tracker.following():
        tuner.fit()
    tracker.sync()
    each = 1e3 * (time.process_time() - processor) / given.trials
    ours = 1e3 * sum(meter.processor.values()) / given.trials
    print(
        f"{given.trials} trials under Ray Tune, {given.slots} at once: the driver's process takes {each:.1f} ms of the "
        f"processor a trial, {ours:.1f} of them ours, {each - ours:.1f} Ray's"
    )
    ray.shutdown()


class Worker:
    """A trial of no length, whose score has a best learning rate, noise, and a curve."""

    def __init__(self, job: dict[str, Any], reports: int) -> None:
        rate = float(job["config"]["learning_rate"])
        self._draw = random.Random(job["seed"])
        self._score = 0.9 - 0.1 * abs(math.log10(rate) + 2) + self._draw.gauss(0, 0.01)
        self._deployed = 384 * int(job["config"].get("num_virtual_tokens", 0))
        self._reports, self.step = reports, 0

    def report(self) -> dict[str, Any]:
        self.step += 1
        score = self._score - 0.3 * math.exp(-3 * self.step / self._reports) + self._draw.gauss(0, 0.01)
        return {
            "step": self.step,
            "validation": score,
            "task_scores": json.dumps({"task": score}),
            "metrics": json.dumps({"task_macro_f1": score}),
            "loss": 1.0,
            "seconds": 0.001,
            "checkpoint": "checkpoint",
            "error": None,
            "resumed": False,
            "stops_study": False,
            "trained_parameters": self._deployed,
            "deployed_parameters": self._deployed,
            "head_parameters": 770,
            "step_seconds": 0.001,
            "peak_memory_bytes": 2**30,
            "latency_seconds": None,
        }


def made_config(given: argparse.Namespace, folder: Path) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "study": "cost",
            "output_dir": str(folder),
            "model": {"name_or_path": "none"},
            "tasks": [
                {
                    "name": "task",
                    "text": "text",
                    "label": "label",
                    "data": {"path": "csv", "data_files": {"train": "none.csv"}},
                }
            ],
            "methods": {name: {} for name in METHODS[: given.methods]},
            "search": {"trials_per_method": -(-given.trials // given.methods)},
            "training": {"max_steps": given.reports, "eval_steps": 1},
        }
    )


def show(ended: int, trials: int, meter: Meter) -> None:
    clock = {name: 1e3 * meter.clock[name] / trials for name in PARTS}
    processor = {name: 1e3 * meter.processor[name] / trials for name in PARTS}
    print(
        f"{ended} trials: {sum(clock.values()):.1f} ms a trial ({listed(clock)}), "
        f"{sum(processor.values()):.1f} ms of the processor ({listed(processor)}); {memory()} MiB",
        flush=True,
    )


def listed(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in parts.items())


def memory() -> int:
    """The process's resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 2**20


if __name__ == "__main__":
    main()
