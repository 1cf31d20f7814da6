"""Study files that somebody has made to break something: names, YAML and overrides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.config.study_file import load
from search.errors import StudyFileError
from tests.search.conftest import write_study

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML = {
    "a bomb of aliases": BOMB,
    "an alias in itself": "study: &a [*a]\n",
    "a section in itself": "study: &a\n  b: *a\n",
    "a merge of itself": "<<: &a {b: *a}\n",
    "lists in lists": "study: " + "[" * 3000 + "]" * 3000,
    "an object of Python": "study: !!python/object/apply:os.mkdir ['mark']\n",
    "a module of Python": "study: !!python/module:os\n",
    "a class of Python": "study: !!python/name:os.system\n",
    "a number of 5,000 digits": "study: " + "9" * 5000,
    "a date that is none": "study: 2026-02-31\n",
    "a list as a key": "? [a]\n: b\n",
    "a number as a key": "1: 2\n",
    "two documents": "study: a\n---\nstudy: b\n",
    "a bell": "study: \x07\n",
    "colours of a terminal": "study: \x1b[31mred\x1b[0m\n",
    "escaped colours of a terminal": 'study: "\\x1b[31mred"\n',
    "nothing": "",
    "a text": "study",
    "a tab": "study:\n\t- a\n",
    "another version": "%YAML 3.0\n---\nstudy: a\n",
}
NAMES = {
    "up": "../evil",
    "the root": "/evil",
    "a folder in it": "a/b",
    "a folder of Windows": "a\\b",
    "here": ".",
    "above": "..",
    "an option": "-rf",
    "a home": "~",
    "nothing": "",
    "a blank": " ",
    "a new line": "a\nb",
    "a null": "a\0b",
    "colours": "\x1b[31mred",
    "a page": "<script>alert(1)</script>",
    "a formula": "=1+1",
    "a shell's command": "$(touch mark)",
    "a query": "a'; drop table studies; --",
    "a parameter of a URL": "a?b=c#d",
    "a format": "{0.__class__}",
    "from right to left": "a\u202egpj.exe",
    "too long": "a" * 300,
    "a hidden folder": ".git",
}


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(StudyFileError) as caught:
        load(path, overrides)
    message = str(caught.value)
    assert len(message) < 2000
    assert message.replace("\n", "").replace("\t", "").isprintable(), message
    return message


@pytest.mark.parametrize("name", YAML)
@pytest.mark.timeout(60)
def test_yaml_is_refused_in_words(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(YAML[name])
    assert "study.yaml" in refused(tmp_path / "study.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_in_its_folder(name: str, study: dict[str, Any], tmp_path: Path) -> None:
    """Of the study, of a task and of a method."""
    for changed in (
        {"study": NAMES[name]},
        {"tasks": [{**study["tasks"][0], "name": NAMES[name]}]},
        {"methods": {NAMES[name]: {}}},
    ):
        refused(write_study({**study, **changed}, tmp_path))


def test_terminal_codes_do_not_reach_the_terminal(study: dict[str, Any], tmp_path: Path) -> None:
    """In names, values, overrides and paths."""
    evil = "\x1b]0;title\x07\x1b[31m[red]x[/red]"
    study["tasks"][0]["label"] = evil
    write_study(study, tmp_path)
    for arguments in (
        ["check", "study.yaml"],
        ["check", "study.yaml", "--set", f"{evil}=1"],
        ["check", "study.yaml", "--set", f"study={evil!r}"],
        ["check", evil],
        ["report", evil],
        ["export", evil, "--out", "out"],
        ["methods", evil],
        [evil],
    ):
        command = [sys.executable, "-m", "search.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 2, (arguments, done)
        said = done.stdout + done.stderr
        assert "\x1b" not in said, (arguments, said)
        assert "\x07" not in said, (arguments, said)
        assert "Traceback" not in said, (arguments, said)
