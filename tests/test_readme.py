"""The README says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import methods
from search.cli.main import app
from search.config import study_file
from tests.methods import families
from tests.methods.conftest import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tree_has_every_source_file() -> None:
    tree = README[README.index("## The tree") : README.index("## Working on it")]
    for package in ("methods", "search", "clusters", "dashboards"):
        for path in (ROOT / package).glob("*.py"):
            if path.name != "__init__.py":
                assert path.name in tree, f"{path.relative_to(ROOT)} is not in the README's tree"


def test_the_table_has_every_command() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"| `promptfront {command.callback.__name__}" in README


def test_every_method_is_listed() -> None:
    for name in methods.names():
        assert f"| `{name}` |" in README


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_example_study_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert example
    (tmp_path / "study.yaml").write_text(example[1])
    assert study_file.load(tmp_path / "study.yaml").search.trials_per_method == 20


def test_the_table_of_families_is_what_runs() -> None:
    """Written anew by: python -m tests.methods.families"""
    assert families.NAMES.keys() == FAMILIES.keys()
    assert families.table() in README
