"""Known settings on real data, without a search: do the methods come out in the order they should, and do the alphas matter?

    python benchmarks/known_settings.py yardstick DIR
    python benchmarks/known_settings.py alphas DIR
    python benchmarks/known_settings.py heads DIR

`yardstick`: SST-2, 6,000 rows, 500 steps of 32, mean readout, the first 436 validation rows. `alphas`: SNIPS, intents and
slots, 1,000 rows each, `multitask` with the slots' alpha from small to large. `heads`: the same tasks, methods by default, with the
heads' learning rate from small to large. DIR as for `real_data.py`, whose model it is.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import real_data
import torch

import methods
from methods.backbone.backbone import Backbone
from search import tasks
from search.config import kinds
from search.config.study_config import ModelConfig, TrainingConfig
from search.tasks import Task
from search.training import model_files
from search.training.evaluation import evaluate
from search.training.steps.pack import Pack
from search.training.trial import Trial

ALPHAS = (0.02, 0.1, 0.5, 0.9, 0.98)
HEAD_RATES = (3e-3, 1e-2, 3e-2, 1e-1)
HEAD_METHODS = ("head_only", "prompt_tuning", "p_tuning_v2", "multitask")
SEEDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("yardstick", "alphas", "heads"))
    parser.add_argument("data", type=Path, metavar="DIR")
    given = parser.parse_args()
    path = model_files.locate(ModelConfig(name_or_path=real_data.MODEL))
    {"yardstick": yardstick, "alphas": alphas, "heads": heads}[given.what](
        given.data.resolve(), path, Backbone.load(path)
    )


def yardstick(folder: Path, path: str, backbone: Backbone) -> None:
    content = {**real_data.sst2(folder), "max_train_samples": None, "max_validation_samples": None}
    task = load(content, path, 64)
    split = task.splits["validation"]
    first = dataclasses.replace(split, rows=split.rows[:436])
    settings = TrainingConfig(max_steps=500, eval_steps=500, per_device_train_batch_size=32)

    def trial(name: str, **given: Any) -> Trial:
        module = methods.get(name)
        return Trial(module.Method, module.Config(**given), backbone, [task], [1.0], settings, 0)

    shared = [
        trial("head_only", learning_rate=1e-2),
        trial("prompt_tuning", num_virtual_tokens=16, learning_rate=1e-2),
        trial("p_tuning_v2", num_virtual_tokens=16, learning_rate=1e-2),
        trial("p_tuning_v2", num_virtual_tokens=16, learning_rate=3e-2),
    ]
    for together in (shared, [trial("full", learning_rate=5e-5)]):
        train(together)
        for each in together:
            found = evaluate(each, 0, first, backbone, 64)
            name = type(each.method).__module__.rpartition(".")[2]
            print(f"{name:15} learning rate {each.config.learning_rate:g}: {found.score:.3f}", flush=True)
    print(f"padding in training: {padding(shared[0]):.1%} of the tokens; torch {torch.__version__}")


def alphas(folder: Path, path: str, backbone: Backbone) -> None:
    both = [load(task(folder), path, 48) for task in (real_data.intents, real_data.slots)]
    settings = TrainingConfig(
        max_steps=200, eval_steps=200, per_device_train_batch_size=16, task_sampling="equal"
    )
    module = methods.get("multitask")
    trials = {
        (alpha, seed): Trial(
            module.Method, module.Config(), backbone, both, [1 - alpha, alpha], settings, seed
        )
        for alpha in ALPHAS
        for seed in range(SEEDS)
    }
    train(list(trials.values()))
    print("| alpha of slots | intents, accuracy | slots, entity F1 |\n|---:|---:|---:|")
    for alpha in ALPHAS:
        scores = [
            [
                evaluate(trials[alpha, seed], i, task.splits["validation"], backbone, 64).score
                for i, task in enumerate(both)
            ]
            for seed in range(SEEDS)
        ]
        cells = " | ".join(f"{mean(mine):.3f}" for mine in zip(*scores, strict=True))
        print(f"| {alpha:g} | {cells} |", flush=True)


def heads(folder: Path, path: str, backbone: Backbone) -> None:
    both = [load(task(folder), path, 48) for task in (real_data.intents, real_data.slots)]
    print("| heads' learning rate | method | intents, accuracy | slots, entity F1 |\n|---:|---|---:|---:|")
    for rate in HEAD_RATES:
        settings = TrainingConfig(max_steps=100, eval_steps=100, per_device_train_batch_size=16)
        trials = {}
        for name in HEAD_METHODS:
            module = methods.get(name)
            own = {"learning_rate" if name == "head_only" else "head_learning_rate": rate}
            for seed in range(SEEDS):
                trials[name, seed] = Trial(
                    module.Method, module.Config(**own), backbone, both, [0.5, 0.5], settings, seed
                )
        train(list(trials.values()))
        for name in HEAD_METHODS:
            scores = [
                mean(
                    evaluate(trials[name, seed], i, task.splits["validation"], backbone, 64).score
                    for seed in range(SEEDS)
                )
                for i, task in enumerate(both)
            ]
            print(f"| {rate:g} | {name} | {scores[0]:.3f} | {scores[1]:.3f} |", flush=True)


def load(content: dict[str, Any], path: str, max_length: int) -> Task:
    return tasks.load(kinds.parse(content), model_files.tokenizer(path), max_length, 0)


def train(together: Sequence[Trial]) -> None:
    """To their end, in one pack."""
    pack = Pack()
    for each in together:
        pack.attach(each)
    while not together[0].done:
        for result in pack.step():
            if isinstance(result, ArithmeticError):
                raise result


def padding(trial: Trial, steps: int = 200) -> float:
    """Share of the tokens of a trial's batches that are padding."""
    real = padded = 0
    for trial.step in range(steps):
        lengths = [len(row.input_ids) for row in trial.batch().rows]
        real, padded = real + sum(lengths), padded + len(lengths) * max(lengths)
    return 1 - real / padded


if __name__ == "__main__":
    main()
