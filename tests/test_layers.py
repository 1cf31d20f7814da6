"""Who may import whom, and one door for each heavy library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"methods", "search", "clusters", "dashboards"}
ALLOWED = {
    "methods": {"methods"},
    "clusters": {"clusters"},
    "dashboards": {"dashboards"},
    "search": {"search", "methods", "clusters"},
}
DOORS = {
    "mlflow": {
        "search/tracking/mlflow_store.py",
        "search/tracking/study_run.py",
        "search/tracking/tracker.py",
        "search/tracking/trial_run.py",
        "search/tracking/logged_model.py",
        "search/tracking/served_model.py",
    },
    "ray": {
        "clusters/connect.py",
        "clusters/jobs.py",
        "search/driver/launch.py",
        "search/driver/tune.py",
        "search/training/worker.py",
        "search/driver/progress.py",
        "search/driver/gauges.py",
    },
    "datasets": {"search/tasks/sources.py"},
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Top-level names that a file imports; without `everywhere`, only when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", sorted(OURS))
def test_packages_import_only_what_they_may(package: str) -> None:
    for path in sources(package):
        if path.name in ("cli.py", "commands.py", "entry.py"):  # see everything, lazily
            continue
        assert set(imports(path)) & OURS <= ALLOWED[package], path


def test_methods_need_torch_and_transformers_only() -> None:
    heavy = {"ray", "optuna", "mlflow", "datasets", "sklearn", "pandas", "pydantic"}
    for path in sources("methods"):
        assert not set(imports(path)) & heavy, path


@pytest.mark.parametrize("library", sorted(DOORS))
def test_heavy_libraries_have_one_door(library: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for package in OURS
        for path in sources(package)
        if library in set(imports(path))
    }
    assert found <= DOORS[library]


def test_the_command_line_imports_nothing_heavy_by_itself() -> None:
    light = {
        "__future__",
        "dataclasses",
        "importlib",
        "os",
        "sys",
        "pathlib",
        "shlex",
        "signal",
        "typing",
        "typer",
        "rich",
        "search",
    }
    for name in ("cli.py", "commands.py"):
        assert set(imports(ROOT / "search" / name, everywhere=False)) <= light
    assert set(imports(ROOT / "search" / "errors.py", everywhere=False)) == {"__future__"}
