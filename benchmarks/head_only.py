"""What does a trial of head_only take, with what it reads computed once and with a forward of the model each time?

    python -m benchmarks.head_only [--study examples/quickstart.yaml] [--trials 8]

Trains random configurations in one process, as a worker does, each both ways, in turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean, median

import torch

import methods
from benchmarks.landscapes import drawn
from search.config import study_file
from search.job import Job, Report
from search.training import engine, worker

METHOD = "head_only"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, default=Path("examples/quickstart.yaml"))
    parser.add_argument("--trials", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = study_file.load(given.study)
    text, method = study.model_dump_json(), methods.get(METHOD).Method
    worker.load(text)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    gaps: list[float] = []
    for number, config in enumerate(drawn(METHOD, given.trials, 0)):
        scores = []
        for injects in (True, False):
            method.injects = injects
            with tempfile.TemporaryDirectory() as folder:
                weights = {task.name: 1 / len(study.tasks) for task in study.tasks}
                job = Job(text, METHOD, "search", number, config, weights, number, folder)
                reports: list[Report] = []
                began = time.perf_counter()
                engine.train(job, reports.append)
                seconds[injects].append(time.perf_counter() - began)
            scores.append([report.validation for report in reports])
        gaps += [abs(one - other) for one, other in zip(*scores, strict=True)]  # type: ignore[operator]
    each, once = seconds[True], seconds[False]
    print(f"{given.trials} trials of {METHOD}, {study.training.max_steps} steps")
    print(f"a forward each time: {median(each):.2f} s a trial")
    print(f"computed once: the first {once[0]:.2f} s, then {median(once[1:]):.2f} s a trial")
    print(
        f"ratio: {median(each) / median(once[1:]):.1f}; over all trials, the first included: {mean(each) / mean(once):.1f}"
    )
    print(f"largest difference of a validation score: {max(gaps):.6f}")


if __name__ == "__main__":
    main()
