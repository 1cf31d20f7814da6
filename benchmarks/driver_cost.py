"""What a trial costs the driver itself: ask, ten reports, tell, and the writing to MLflow.

    python benchmarks/driver_cost.py [--trials 5000] [--slots 64] [--methods 3] [--reports 10] [--no-mlflow]

Trials are made up and take no time, so all that is measured is ours: the Optuna storage on SQLite, the sampler (TPE), early
stopping, and MLflow on SQLite. The searcher and the scheduler are called as Ray Tune's controller calls them, with `slots`
trials at once; Tune's controller and its workers are left out (2.3 ms a result of it, measured apart), since 64 workers
need a cluster. MLflow is written every two seconds, as its thread does, here in turns, so that its time is counted.

Prints milliseconds for each trial, over the last tenth: by the clock, which other processes and the disk slow down, and of
the processor; and the process's memory.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from search.config import StudyConfig
from search.searcher import HalvingScheduler, StudySearcher
from search.study import Study
from search.tracking import Tracker

METHODS = ("prompt_tuning", "p_tuning_v2", "p_tuning", "head_only", "prefix_tuning", "prompt_pool")
PROCESSOR = "processor"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--methods", type=int, default=3)
    parser.add_argument("--reports", type=int, default=10)
    parser.add_argument("--no-mlflow", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(given, Path(folder))


def run(given: argparse.Namespace, folder: Path) -> None:
    """Runs the made-up trials, and prints a line for each tenth of them."""
    config = made_config(given, folder)
    searcher = StudySearcher(Study(config))
    searcher.limit = given.slots
    scheduler = HalvingScheduler(searcher)
    tracker = None if given.no_mlflow else Tracker(searcher.study, 0)
    spent: defaultdict[str, float] = defaultdict(float)
    running: dict[str, Worker] = {}
    ended = begun = 0
    synced = time.perf_counter()
    tenth = given.trials // 10
    while ended < given.trials:
        while len(running) < given.slots and begun < given.trials:
            trial_id = str(begun)
            job = timed(spent, "ask", searcher.suggest, trial_id)
            if not isinstance(job, dict):
                break
            running[trial_id] = Worker(job, given.reports)
            begun += 1
        for trial_id, worker in list(running.items()):
            trial = SimpleNamespace(trial_id=trial_id)
            decision = timed(spent, "reports", scheduler.on_trial_result, None, trial, worker.report())
            if decision == TrialScheduler.STOP or worker.step == given.reports:
                timed(spent, "tell", searcher.on_trial_complete, trial_id)
                del running[trial_id]
                ended += 1
                if ended % tenth == 0:
                    if tracker is not None:
                        timed(spent, "log", tracker.sync)
                    show(ended, tenth, spent)
                    spent.clear()
        if tracker is not None and time.perf_counter() - synced > 2:
            timed(spent, "log", tracker.sync)
            synced = time.perf_counter()


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
            "stops_study": False,
            "trained_parameters": self._deployed,
            "deployed_parameters": self._deployed,
            "head_parameters": 770,
            "step_seconds": 0.001,
            "peak_memory_bytes": 2**30,
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


def timed(spent: defaultdict[str, float], name: str, function: Any, *arguments: Any) -> Any:
    start, processor = time.perf_counter(), time.process_time()
    try:
        return function(*arguments)
    finally:
        spent[name] += time.perf_counter() - start
        spent[PROCESSOR] += time.process_time() - processor


def show(ended: int, trials: int, spent: defaultdict[str, float]) -> None:
    each = {name: 1e3 * seconds / trials for name, seconds in spent.items()}
    processor = each.pop(PROCESSOR)
    parts = ", ".join(f"{name} {each[name]:.1f}" for name in sorted(each))
    print(
        f"{ended} trials: {sum(each.values()):.1f} ms a trial ({parts}), "
        f"{processor:.1f} ms of the processor; {memory()} MiB",
        flush=True,
    )


def memory() -> int:
    """The process's resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 2**20


if __name__ == "__main__":
    main()
