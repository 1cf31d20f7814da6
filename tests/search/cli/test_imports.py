"""Commands that train nothing answer at once: none of them imports a heavy library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.config.template import template

HEAVY = {"torch", "transformers", "optuna", "ray", "mlflow", "datasets", "sklearn", "scipy", "pandas"}
PROGRAM = f"""
import sys
from search.cli.main import main
try:
    main()
finally:
    print(sorted({HEAVY} & set(sys.modules)))
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command; the last line of its output is the heavy libraries that it imported."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def imported(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("init", "mine.yaml"), ("methods",)],
    ids=lambda given: given[0],
)
def test_what_needs_no_model_imports_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert imported(done) == "[]"


@pytest.mark.parametrize(
    ("section", "wrong", "named"),
    [
        ("methods", {"promt_tuning": {}}, "methods.promt_tuning"),
        ("methods", {"prompt_tuning": {"lr": 1}}, "methods.prompt_tuning.lr"),
        ("methods", {"prompt_tuning": {"learning_rate": "fast"}}, "methods.prompt_tuning.learning_rate"),
        ("search", {"trials_per_method": "many"}, "search.trials_per_method"),
        ("search", {"trails": 3}, "search.trails"),
    ],
    ids=["unknown method", "unknown hyperparameter", "its type", "type", "unknown key"],
)
def test_a_mistake_is_named_before_anything_heavy_is_imported(
    section: str, wrong: dict[str, Any], named: str, tmp_path: Path
) -> None:
    content = yaml.safe_load(template("mine"))
    content[section] = {**content[section], **wrong}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    done = run("check", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"{named}:" in done.stderr
    assert imported(done) == "[]"


def test_a_light_trial_needs_no_torch() -> None:
    """Of many trials in one engine each has a process of its own, which does nothing but pass reports on."""
    program = "import sys, search.driver.engines; print({'torch', 'transformers', 'optuna', 'scipy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"
