"""The house: which room imports which, one door for each heavy library, and how large rooms and files may be."""

from __future__ import annotations

import ast
import functools
import graphlib
import statistics
import typing
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from dashboards import rows
from search import job

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("methods", "search", "clusters", "dashboards")

FLOORS = (
    ("search.cli",),
    ("search.api",),
    ("dashboards.report",),
    ("dashboards.figures",),
    ("dashboards.findings",),
    ("dashboards.rows",),
    ("search.driver",),
    ("search.tracking",),
    ("search.results", "search.export"),
    ("search.plan", "search.study"),
    ("search.training",),
    ("search.tasks", "search.strategy"),
    ("search.metrics",),
    ("search.storage",),
    ("search.config",),
    ("search.job",),
    ("search.errors", "search.seeds"),
    ("search.terminal",),
    ("clusters", "dashboards.statistics"),
    ("methods",),
    ("methods.saved",),
    ("methods.registry",),
    ("methods.answers", "methods.sites"),
    ("methods.parameters",),
    ("methods.method",),
    ("methods.config", "methods.heads", "methods.bundles"),
    ("methods.backbone",),
    ("methods.space",),
)
"""Rooms, and the files between them, from top to bottom. Each imports only what stands on floors below its own."""
OF_A_PACKAGE = {"methods": {"methods"}, "clusters": {"clusters"}, "dashboards": {"dashboards"}}
"""Packages that know nothing of the others."""

DOORS = {
    "ray": {"search.driver", "clusters"},
    "optuna": {"search.storage", "search.strategy"},
    "mlflow": {"search.tracking"},
    "datasets": {"search.tasks"},
    "peft": {"search.export"},
    "jinja2": {"dashboards.report", "clusters"},
}
"""The rooms that import a heavy library, each of them."""
BEYOND_METHODS = {"ray", "optuna", "mlflow", "datasets", "sklearn", "pandas", "pydantic", "scipy"}
BEYOND_TRAINING = {"ray", "optuna", "mlflow"}

MOST_FILES, MOST_LINES, MEDIAN_LINES = 16, 300, 120


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of ours, by its name; a package by its own."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str) -> Iterator[str]:
    """Full names that a module imports anywhere in it, in functions and for types too."""
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else str(node.module)


def ours(module: str) -> set[str]:
    """Modules of ours that a module imports."""
    return {name for name in imported(module) if name in modules()} - {module}


def room(module: str) -> str:
    """The room, or the single file on a floor, to which a module belongs."""
    named = {name for floor in FLOORS for name in floor}
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in named), parts[0])


HEIGHT = {name: -number for number, floor in enumerate(FLOORS) for name in floor}


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_room_imports_what_stands_below_it(module: str) -> None:
    here = room(module)
    if here not in HEIGHT:
        assert module in PACKAGES, f"{module} stands in no room: give it a floor"
        here = FLOORS[0][0]  # a package's own file
    for other in ours(module):
        there = room(other)
        if there != here and other not in PACKAGES:
            assert HEIGHT[there] < HEIGHT[here], (
                f"{module} imports {other}, which stands above it or beside it"
            )
    package = module.partition(".")[0]
    if package in OF_A_PACKAGE:
        assert {other.partition(".")[0] for other in ours(module)} <= OF_A_PACKAGE[package]


def test_no_circle_of_imports() -> None:
    graph = {module: ours(module) for module in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def users_of(library: str) -> set[str]:
    return {
        room(module)
        for module in modules()
        if library in {name.partition(".")[0] for name in imported(module)}
    }


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_heavy_library_has_its_door(library: str) -> None:
    assert users_of(library) == DOORS[library]


def test_methods_need_torch_and_transformers_only() -> None:
    for library in BEYOND_METHODS:
        assert not any(name.startswith("methods") for name in users_of(library)), library


def test_training_runs_without_the_search() -> None:
    """One worker, and later the engine, needs neither Ray nor the databases."""
    reached, todo = set(), {module for module in modules() if module.startswith("search.training.")}
    while todo:
        module = todo.pop()
        reached.add(module)
        todo |= ours(module) - reached
    for library in BEYOND_TRAINING:
        users = {
            module for module in reached if library in {name.partition(".")[0] for name in imported(module)}
        }
        assert not users, library


def test_rooms_are_not_too_full() -> None:
    counts = Counter(path.parent for path in [*modules().values(), *(ROOT / "tests").rglob("*.py")])
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_files_are_not_too_long() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
    tests = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / "tests").rglob("*.py")}
    assert {path: length for path, length in tests.items() if length > MOST_LINES} == {}
    assert statistics.median(length for length in lengths.values() if length) < MEDIAN_LINES


def test_every_room_says_what_it_is_for() -> None:
    silent = [
        name
        for name, path in modules().items()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_a_measured_cost_is_three_files() -> None:
    """A field of the worker's report, its measurement, and a field of the rows: no other file lists the costs."""
    assert set(rows.COSTS) == set(job.COSTS) <= set(rows.Trial.__annotations__)
    assert set(typing.get_args(job.MeasuredCost)) <= set(job.COSTS) <= {f.name for f in fields(job.Report)}
    listing = []
    for name, path in modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        named |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        if set(job.COSTS) <= named:
            listing.append(name)
    assert sorted(listing) == ["dashboards.rows", "search.job", "search.training.engine"]
