"""Records trials of random configurations on real tasks, so that searches can be compared without training.

    python benchmarks/real_trials.py DIR [--trials 120] [--jobs 2] [--out benchmarks/recorded]

DIR as for `real_data.py`, whose model it is. For each task (SST-2; SNIPS' intents) and method, configuration 0 is the published
default and the others are drawn from the method's space. Each trains 48 steps of 16 of 1,000 rows; every third has a second seed.
Writes a file for each task, in which a line is a run: method, configuration, seed, the validation score (200 rows) at every twelfth
step, and the final score on `test` rows that no search sees (600 of SST-2, 700 of SNIPS). What a file has already is not trained
again. Two cores take about four hours.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import real_data
import torch

import methods
from methods.backbone.backbone import Backbone
from search import tasks
from search.config import kinds
from search.config.spaces import Space
from search.config.study_config import ModelConfig, TrainingConfig
from search.seeds import derive
from search.strategy.sampling import distributions
from search.tasks import Task
from search.training import model_files
from search.training.evaluation import evaluate
from search.training.steps.pack import Pack
from search.training.trial import DivergedError, Trial

METHODS = ("prompt_tuning", "p_tuning_v2", "lora")
TASKS = {"sst2": real_data.sst2, "intents": real_data.intents}
SETTINGS = TrainingConfig(max_steps=48, eval_steps=12, per_device_train_batch_size=16)
MAX_LENGTH = 48
TWICE = 3
"""Every such configuration has a second seed."""


class Run(NamedTuple):
    """One training."""

    task: str
    method: str
    number: int
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DIR")
    parser.add_argument("--trials", type=int, default=120, help="configurations of each method and task")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/recorded"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    done_before = {run for task in TASKS for run in recorded(given.out / f"{task}.jsonl", task)}
    left = [run for run in runs(given.trials) if run not in done_before]
    print(f"{len(left)} runs to train", flush=True)
    with ProcessPoolExecutor(
        given.jobs, mp_context=get_context("spawn"), initializer=prepare, initargs=(given.data.resolve(),)
    ) as pool:
        pending = {pool.submit(train, run): run for run in left}
        for count, done in enumerate(as_completed(pending), start=1):
            with (given.out / f"{pending[done].task}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(done.result()) + "\n")
            if count % 20 == 0:
                print(f"{count} trained", flush=True)
    for task in TASKS:
        in_order(given.out / f"{task}.jsonl")


def runs(trials: int) -> Iterator[Run]:
    """The runs, so that a recording that was cut short has all tasks and methods."""
    for number in range(trials):
        for seed in range(2 if number % TWICE == 0 else 1):
            for task in TASKS:
                for method in METHODS:
                    yield Run(task, method, number, seed)


def recorded(path: Path, task: str) -> set[Run]:
    """The runs that a file has."""
    return {Run(task, line["method"], line["number"], line["seed"]) for line in lines(path)}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def in_order(path: Path) -> None:
    """Sorts a file's lines, which stand as the runs ended."""
    found = sorted(lines(path), key=lambda line: (line["method"], line["number"], line["seed"]))
    path.write_text("".join(json.dumps(line) + "\n" for line in found), encoding="utf-8")


_here: dict[str, Any] = {}
"""The backbone and the tasks of a process."""


def prepare(folder: Path) -> None:
    """Loads what all runs of a process share."""
    torch.set_num_threads(1)
    path = model_files.locate(ModelConfig(name_or_path=real_data.MODEL))
    _here["backbone"] = Backbone.load(path)
    for name, content in TASKS.items():
        parsed, words = kinds.parse(content(folder)), model_files.tokenizer(path)
        _here[name] = tasks.load(parsed, words, MAX_LENGTH, 0, ("train", "validation", "test"))


def train(run: Run) -> dict[str, Any]:
    """Trains a run; one that diverges has the scores from before, and None from there on."""
    module, task, backbone = methods.get(run.method), _here[run.task], _here["backbone"]
    drawn = params(run.method, run.number)
    seed = derive(run.seed, "recorded", run.task, run.method, run.number)
    trial = Trial(module.Method, module.Config(**drawn), backbone, [task], [1.0], SETTINGS, seed)
    pack, curve = Pack(), list[float | None]()
    pack.attach(trial)
    while not trial.done:
        if any(isinstance(result, DivergedError) for result in pack.step()):
            break
        if trial.step % SETTINGS.eval_steps == 0:
            curve.append(score(trial, task, "validation"))
    missing = [None] * (SETTINGS.max_steps // SETTINGS.eval_steps - len(curve))
    return {
        "method": run.method,
        "number": run.number,
        "seed": run.seed,
        "config": drawn,
        "deployed": trial.counts.deployed_parameters,
        "validation": [*curve, *missing],
        "test": score(trial, task, "test") if trial.done else None,
    }


def score(trial: Trial, task: Task, split: str) -> float:
    return round(evaluate(trial, 0, task.splits[split], _here["backbone"], 64).score, 4)  # type: ignore[index]


def params(method: str, number: int) -> dict[str, Any]:
    """What is searched of a configuration; number 0 is the published default."""
    ranges = methods.get(method).Config.space()
    if number == 0:
        default = dataclasses.asdict(methods.get(method).Config())
        return {name: default[name] for name in ranges}
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=derive(number, "recorded", method))
    )
    return study.ask(distributions(Space({}, dict(ranges)))).params


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
