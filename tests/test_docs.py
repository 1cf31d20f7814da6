"""The README and the pages of docs/ say what is there, in the words of the glossary."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

import methods
from search.cli.main import app
from search.config import study_file
from tests.methods import families
from tests.methods.conftest import FAMILIES
from tests.test_layers import FLOORS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]

RUN_BY = {
    "bash cluster.sh up": "tests/clusters/test_jobs.py::laptop",
    "bash cluster.sh down": "tests/clusters/test_jobs.py::laptop",
    "export RAY_AUTH_MODE=token": "tests/clusters/test_jobs.py::laptop",
    "promptfront init": "tests/search/cli/test_cli.py::test_init_writes_a_file_that_check_reads",
    "promptfront check": "tests/search/cli/test_cli.py::test_check_prints_the_plan",
    "promptfront methods": "tests/search/cli/test_cli.py::test_methods_lists_them_with_their_ranges",
    "promptfront cluster local": "tests/search/cli/test_cli.py::test_cluster_writes_a_file_once",
    "promptfront launch": "tests/search/driver/test_launch.py::test_a_study_from_launch_to_prediction",
    "promptfront export": "tests/search/driver/test_launch.py::test_a_study_from_launch_to_prediction",
    "promptfront logs": "tests/clusters/test_jobs.py::test_a_study_is_submitted_stopped_resumed_and_brought_back",
    "promptfront report": "tests/clusters/test_jobs.py::test_a_study_is_submitted_stopped_resumed_and_brought_back",
}
"""Which test, or fixture, runs a command of the pages; `make` and `python` are looked up in Makefile and source instead."""

BANNED = {
    r"winners?": "recommended, best",
    r"candidates?": "recommended",
    r"zero points?": "baseline",
    r"dearer": "more expensive",
    r"hands-on": "say what to do",
}
"""Words that are not used, and what is used for them; docs/glossary.md lists them too."""

SOURCES = ("methods", "search", "clusters", "dashboards", "benchmarks", "examples")
"""Folders whose string literals, docstrings and templates are read for banned words."""

ROOMS = re.compile(r"\n    cli\n(?:    .*\n)+")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def without_code(content: str) -> str:
    """The same lines without code: blocks, and names and values between backticks."""
    blank = re.sub(r"(?ms)^```.*?^```$", lambda found: "\n" * found[0].count("\n"), content)
    return re.sub(r"`[^`\n]*`", "`", blank)


def blocks(language: str) -> list[tuple[str, str]]:
    """Every block of a language, with the name of its page."""
    pattern = re.compile(rf"(?ms)^```{language}\n(.*?)^```$")
    return [(name_of(page), block) for page in PAGES for block in pattern.findall(text(page))]


def commands() -> list[tuple[str, str]]:
    """Every command of the bash blocks and of the indented lines, without its comment."""
    lines = [(page, line) for page, block in blocks("bash") for line in block.splitlines()]
    for page in PAGES:
        indented = re.findall(r"(?m)^    ((?:promptfront|python|make) .*)$", text(page))
        lines += [(name_of(page), line) for line in indented]
    return [(page, command) for page, line in lines if (command := line.split(" #")[0].strip())]


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives a page's headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", "", text(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def command_line() -> dict[str, Any]:
    """Each command by its name, as the Typer app parses it; Typer may bring a click of its own."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = group.commands
    return found


def test_the_readme_is_short() -> None:
    assert len(text(README).splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text(page))):
        if re.match(r"https?:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in anchors(file), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_the_index_has_every_page_and_each_says_what_it_is_for(page: Path) -> None:
    title, _, opening, *_ = text(page).splitlines()
    assert title.startswith("# ")
    assert opening.startswith("This page "), f"{page.name} does not say what it is for"
    assert page.name == "index.md" or f"]({page.name})" in text(ROOT / "docs" / "index.md")


def test_the_readmes_two_commands_are_targets_of_the_makefile() -> None:
    found = re.findall(r"(?m)^make ([\w-]+)", blocks("bash")[0][1])
    assert found == ["demo", "test"]


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_is_one_that_works(page: str, command: str, command_line: dict[str, Any]) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"(?m)^{words[0]}:", (ROOT / "Makefile").read_text()), f"{page}: {command}"
    elif program == "python":
        script = words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0]
        source = text(ROOT / script)
        for option in (word for word in words if word.startswith("--")):
            assert f'"{option}"' in source, f"{page}: {script} has no {option}"
    else:
        assert any(command.startswith(known) for known in RUN_BY), f"{page}: no test runs {command!r}"
    if program == "promptfront":
        parsed = command_line[words[0]].make_context(words[0], words[1:])  # UsageError names what is wrong
        assert parsed.info_name == words[0]


@pytest.mark.parametrize("command", RUN_BY)
def test_the_test_that_runs_a_command_is_there(command: str) -> None:
    path, _, function = RUN_BY[command].partition("::")
    source = text(ROOT / path)
    body = re.search(rf"(?ms)^def {function}\(.*?(?=^(?:def|@|class) |\Z)", source)
    assert body, f"{path} has no {function}"
    word = command.split()[1].partition("=")[0]
    assert f'"{word}"' in body[0], f"{function} does not run {command!r}"


def test_every_command_is_documented_with_its_options(command_line: dict[str, Any]) -> None:
    page = text(ROOT / "docs" / "commands.md")
    for name, command in command_line.items():
        row = re.search(rf"(?m)^\| `promptfront {name}\b.*$", page)
        assert row, f"docs/commands.md does not have {name}"
        for parameter in command.params:
            if parameter.param_type_name == "option":
                longest = max(parameter.opts, key=len)
                assert longest in row[0], f"docs/commands.md: {name} has no {longest}"


def test_pages_name_methods_that_there_are() -> None:
    """A new method need not be in them: it is one file and its test."""
    table = re.findall(r"(?m)^\| `(\w+)` \|", text(ROOT / "docs" / "methods.md"))
    assert table
    assert set(table) <= set(methods.names())


def test_the_page_of_the_study_file_is_what_is_generated() -> None:
    """Written anew by: make docs"""
    generator = _generator()
    page = text(generator.PAGE)
    named = [name for name in methods.names() if f"### {name}\n" in page]
    assert named
    assert page == generator.page(named)


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_study_is_valid(tmp_path: Path) -> None:
    page, example = blocks("yaml")[0]
    assert page == "README.md"
    (tmp_path / "study.yaml").write_text(example)
    assert study_file.load(tmp_path / "study.yaml").search.trials_per_method == 20


@pytest.mark.parametrize(("page", "block"), blocks("python"))
def test_python_parses(page: str, block: str) -> None:
    compile(block, page, "exec")


def test_the_table_of_families_is_what_runs() -> None:
    """Written anew by: python -m tests.methods.families"""
    assert families.NAMES.keys() == FAMILIES.keys()
    assert families.table() in text(ROOT / "docs" / "methods.md")


def test_paths_in_the_pages_are_there() -> None:
    """A file named between backticks, from the root of the repository."""
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for path in re.findall(
            r"`((?:methods|search|clusters|dashboards|tests|benchmarks|docs|examples)/[\w/.]+)`", text(page)
        ):
            assert (ROOT / path).exists(), f"{name_of(page)}: {path}"


def test_every_room_is_in_the_development_page() -> None:
    page = text(ROOT / "docs" / "development.md")
    for package in ("methods", "search", "dashboards"):
        for init in (ROOT / package).glob("*/__init__.py"):
            assert f"| `{name_of(init.parent)}/` |" in page, (
                f"docs/development.md has no {name_of(init.parent)}/"
            )


def test_the_design_has_the_floors_that_a_test_keeps() -> None:
    found = ROOMS.search(text(ROOT / "docs" / "design.md"))
    assert found
    floors = [set(re.findall(r"\w+", line)) for line in found[0].splitlines() if line.strip()]
    kept = [
        {name.removeprefix("search.") for name in floor if name.startswith("search.")} for floor in FLOORS
    ]
    assert floors == [floor for floor in kept if floor]


def test_the_citation_is_valid() -> None:
    citation = yaml.safe_load(text(ROOT / "CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    project = text(ROOT / "pyproject.toml")
    assert f'version = "{citation["version"]}"' in project
    assert f'license = "{citation["license"]}"' in project


def test_the_glossary_lists_the_banned_words() -> None:
    page = text(ROOT / "docs" / "glossary.md")
    rows = {(word, instead) for word, instead in re.findall(r"(?m)^\| `([\w -]+)` \| (.*) \|$", page)}
    assert rows >= {(re.sub(r"s\?", "", word), instead) for word, instead in BANNED.items()}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_use_the_words_of_the_glossary(page: Path) -> None:
    """Names and values in code are as they are."""
    assert not list(_banned(without_code(text(page)), name_of(page)))


@pytest.mark.parametrize("folder", SOURCES)
def test_source_uses_the_words_of_the_glossary(folder: str) -> None:
    found: list[str] = []
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix == ".py":
            for line, literal in _literals(path):
                found += _banned(literal, name_of(path), line)
        elif path.suffix in (".j2", ".yaml", ".js"):
            found += _banned(re.sub(r"(?s)\{[%{].*?[%}]\}", _strings_only, text(path)), name_of(path))
    assert not found, "\n".join(["", *found])


def _strings_only(code: re.Match[str]) -> str:
    """A template's code without its names: the strings in it, on their lines."""
    return "\n".join(" ".join(re.findall(r'"([^"]*)"', line)) for line in code[0].split("\n"))


def _literals(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a file, docstrings among them, with its line."""
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _banned(content: str, where: str, first: int = 1) -> Iterator[str]:
    """file:line, the banned word, and what to write instead."""
    for number, line in enumerate(content.splitlines(), start=first):
        for word, instead in BANNED.items():
            for found in re.findall(rf"(?i)(?<![\w-]){word}(?![\w-])", line):
                yield f"{where}:{number}: {found!r}; write: {instead}"
