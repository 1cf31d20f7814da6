"""The bounds of pyproject.toml and the lock of constraints.txt agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
LOCKED = {
    canonicalize_name(line.split("==")[0]): line.strip().split("==")[1]
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
}


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_every_dependency_is_bounded_and_locked_within_its_bounds(line: str) -> None:
    requirement = Requirement(line)
    assert any(bound.operator in ("<", "==") for bound in requirement.specifier), "no upper bound"
    assert requirement.specifier.contains(LOCKED[canonicalize_name(requirement.name)])


def test_the_lock_names_no_build() -> None:
    assert not any("+" in version for version in LOCKED.values())
