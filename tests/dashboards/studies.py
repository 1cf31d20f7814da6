"""Result rows made by hand, and what tests do with them."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rows = dict[str, Any]
Study = Callable[..., Rows]

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'</script>|=1+1"
"""Text that must be shown and never run."""

EXAMPLES = 400

SPACES: dict[str, dict[str, Any]] = {
    "head_only": {"learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-1, "log": True}},
    "prompt_tuning": {
        "learning_rate": {"kind": "float", "low": 1e-3, "high": 0.3, "log": True},
        "num_virtual_tokens": {"kind": "int", "low": 4, "high": 20, "log": True},
        "init": {"kind": "choice", "choices": ["vocab", "labels"]},
    },
    "p_tuning_v2": {
        "learning_rate": {"kind": "float", "low": 1e-3, "high": 0.1, "log": True},
        "num_virtual_tokens": {"kind": "int", "low": 4, "high": 20, "log": True},
    },
    "full": {"learning_rate": {"kind": "float", "low": 1e-5, "high": 1e-2, "log": True}},
}
TITLES = {
    "head_only": "Head only",
    "prompt_tuning": "Prompt tuning",
    "p_tuning_v2": "P-tuning v2",
    "full": "Full",
}
PARAMETERS = {"head_only": 0, "prompt_tuning": 3840, "p_tuning_v2": 46080, "full": 22713216}
ACCURACY = {"head_only": 0.70, "prompt_tuning": 0.90, "p_tuning_v2": 0.9, "full": 0.904}


def table(
    accuracy: float, seeds: int, examples: int = EXAMPLES, noise: float = 0.001, salt: int = 0
) -> list[list[int]]:
    """0/1 scores [seeds, examples]. All methods find the same examples hard; seeds flip a few."""
    hardness = np.random.default_rng(0).random(examples)
    rng = np.random.default_rng(salt + 1)
    rows = []
    for _ in range(seeds):
        row = hardness < accuracy
        rows.append(np.where(rng.random(examples) < noise, ~row, row).astype(int).tolist())
    return rows


def _trial(method: str, number: int, state: str, validation: float | None) -> dict[str, Any]:
    steps = [15, 30, 45] if state == "COMPLETE" else [15]
    final = ACCURACY[method] if validation is None else validation
    params: dict[str, Any] = {"learning_rate": round(0.001 * (1 + number * 3), 4)}
    cost = PARAMETERS[method]
    if "num_virtual_tokens" in SPACES[method]:
        params["num_virtual_tokens"] = 4 + 2 * number
        cost = PARAMETERS[method] * (4 + 2 * number) // 10
    if "init" in SPACES[method]:
        params["init"] = ["vocab", "labels"][number % 2]
    return {
        "number": number, "method": method, "state": state, "config": params, "seed": 1000 + number,
        "validation": validation, "task_scores": None if validation is None else {"topic": validation},
        "trained_parameters": cost, "deployed_parameters": cost, "head_parameters": 1925, "seconds": 20.0 + number,
        "started": f"2026-11-24T03:{number:02d}:00+00:00", "ended": f"2026-11-24T03:{number:02d}:40+00:00",
        "error": "RuntimeError: out of memory" if state == "FAIL" else None, "checkpoint": None,
        "mlflow_run_id": f"{method}{number}".replace("_", "") * 2,
        "curve": [
            {"step": step, "loss": 1 / step, "validation": final - 0.1 * math.exp((15 - step) / 4), "seconds": step * 0.4}
            for step in steps
        ],
    }  # fmt: skip


def _finalist(method: str, accuracy: float, seeds: int, role: str, chosen: bool) -> dict[str, Any]:
    scores = table(accuracy, seeds, salt=1 + list(PARAMETERS).index(method))
    runs = []
    for index, row in enumerate(scores):
        mean = float(np.mean(row))
        runs.append(
            {
                "seed": 90 + index, "state": "COMPLETE", "error": None, "validation": accuracy + 0.01 + 0.001 * index,
                "task_scores": {"topic": accuracy}, "test": mean if chosen else None,
                "test_task_scores": {"topic": mean} if chosen else None,
                "examples": {"topic": row} if chosen else None, "seconds": 20.0,
                "mlflow_run_id": f"fin{method}{index}",
            }
        )  # fmt: skip
    return {
        "method": method, "config": {"learning_rate": 0.01}, "number": 3 if role == "best" else 1, "role": role,
        "chosen": chosen, "trained_parameters": PARAMETERS[method], "deployed_parameters": PARAMETERS[method],
        "head_parameters": 1925, "runs": runs,
    }  # fmt: skip


def make_rows(seeds: int = 5, accuracy: dict[str, float] | None = None) -> Rows:
    """A finished study. `accuracy` says which methods are tested, and their scores."""
    accuracy = ACCURACY if accuracy is None else accuracy
    states = ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "PRUNED", "FAIL"]
    trials = []
    for method in PARAMETERS:
        for number, state in enumerate(states):
            score = ACCURACY[method] - 0.04 + 0.012 * number if state == "COMPLETE" else None
            trials.append(_trial(method, number, state, score))
    finalists = [_finalist(method, value, seeds, "best", True) for method, value in accuracy.items()]
    if "p_tuning_v2" in accuracy:
        finalists.append(_finalist("p_tuning_v2", 0.89, seeds, "cheapest", False))
    return {
        "study": "quickstart", "partial": False, "outcome": "done", "epsilon": 0.01,
        "objective": {"metric": "accuracy", "direction": "maximize"},
        "backbone": {"name": "all-MiniLM-L6-v2", "parameters": 22713216, "hidden_size": 384, "layers": 6},
        "tasks": [{"name": "topic", "kind": "sequence_classification", "metric": "accuracy", "train": 80,
                   "validation": 150, "test": EXAMPLES, "labels": ["business", "sport"]}],
        "methods": [{"method": method, "title": TITLES[method], "baseline": method in ("head_only", "full"),
                     "budget": len(states), "space": copy.deepcopy(SPACES[method])} for method in PARAMETERS],
        "trials": trials, "finalists": finalists, "test_readings": 1,
        "provenance": {"versions": {"torch": "2.13.0", "optuna": "4.9.0"}, "commit": "abc123", "dirty": False,
                       "seed": 0, "model": {"name": "all-MiniLM-L6-v2", "sha256": "f00d" * 16},
                       "data": {"topic": {"train": "aa" * 32, "test": "bb" * 32}},
                       "machine": {"cpu": "a cpu", "cores": 2, "memory_gib": 23.5, "gpus": []},
                       "command": "promptfront launch examples/quickstart.yaml", "study_file": "study: quickstart\n"},
    }  # fmt: skip


def empty(rows: Rows) -> Rows:
    """The study, interrupted before its first trial."""
    nothing = {"trials": [], "finalists": [], "provenance": {}}
    return {**rows, **nothing, "partial": True, "outcome": "interrupted"}


def finalist(rows: Rows, method: str) -> dict[str, Any]:
    """The chosen finalist of a method."""
    return next(f for f in rows["finalists"] if f["method"] == method and f["chosen"])


def probe(rows: Rows, **steps: float) -> None:
    """Measures finalists alone. All follows from the seconds of a step."""
    for method, seconds in steps.items():
        finalist(rows, method)["probe"] = {
            "device": "cpu", "train_step_seconds": seconds,
            "train_seconds": 100 * seconds, "peak_memory_bytes": 1e9 - 1e8 * seconds, "latency_seconds": seconds / 10,
            "rows_per_second": 1 / seconds, "bytes": 10_000,
        }  # fmt: skip


def score(rows: Rows, tables: dict[str, np.ndarray]) -> None:
    """Replaces the test scores of the chosen finalists by tables [S, E]."""
    for each in rows["finalists"]:
        if each["chosen"]:
            for run, row in zip(each["runs"], tables[each["method"]], strict=True):
                run["test"], run["examples"] = float(row.mean()), {"topic": row.tolist()}


def page_text(folder: Path) -> str:
    """What a reader sees of report.html, without tags."""
    html = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", html))
