"""A real study whose labels, texts, columns and files are hostile: what it shows and writes is inert."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import methods
from tests.hostile.texts import FORMULA, TEXTS
from tests.search.conftest import write_study
from tests.search.launches import report, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TEXT, LABEL = '=1+1"<script>window.marked=true</script>', "\x1b[31m[red]label"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SECRET = "5c1d9a7e-not-to-be-seen"


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, _model_folder: Path) -> tuple[Path, str]:
    """The folder of a study of hostile data, and what its launch printed."""
    folder = tmp_path_factory.mktemp("hostile")
    for split, each in {"train": 4, "validation": 2, "test": 2}.items():
        rows = [{TEXT: f"{split} {n} {text}", LABEL: text} for text in TEXTS.values() for n in range(each)]
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / f"{split} <b>$(touch mark).jsonl").write_text("".join(lines))
    study = {
        "study": "tiny",
        "model": {"name_or_path": str(_model_folder), "max_length": 12},
        "tasks": [
            {
                "name": "topics",
                "text": TEXT,
                "label": LABEL,
                "data": {
                    "path": "json",
                    "data_files": {s: f"{s} <b>$(touch mark).jsonl" for s in ("train", "validation", "test")},
                    "validation_split": "validation",
                },
            }
        ],
        "methods": {"head_only": {}, "prompt_tuning": {"init": ["labels", "vocab"], "num_virtual_tokens": 4}},
        "search": {"trials_per_method": 2},
        "training": {"max_steps": 4, "eval_steps": 2, "per_device_train_batch_size": 8},
        "finalists": {"num_seeds": 2, "max_seeds": 2},
    }
    write_study(study, folder)
    code, said = run("launch", "study.yaml", cwd=folder, HF_TOKEN=SECRET, AWS_SECRET_ACCESS_KEY=SECRET)
    assert code == 0, said
    return folder, said


def test_the_terminal_shows_it_and_obeys_nothing(launched: tuple[Path, str]) -> None:
    folder, said = launched
    for command in (["check", "study.yaml"], ["status"], ["status", "tiny"], ["report", "tiny"]):
        code, more = run(*command, cwd=folder)
        assert code == 0, more
        said += more
    assert not STEERING.findall(said)
    assert not list(folder.rglob("mark"))


def test_the_page_runs_and_loads_nothing(launched: tuple[Path, str], browser: Any) -> None:
    browser.get((launched[0] / "outputs/tiny/report/report.html").as_uri())
    assert browser.execute_script("return window.marked") is None
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.find_elements("css selector", "img, iframe, object, embed, base, form") == []
    links = browser.execute_script("return [...document.querySelectorAll('[href]')].map(e => e.href)")
    assert not [link for link in links if "198.51" in link or link.startswith(("javascript:", "data:text"))]
    handlers = "return [...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => a.name.startsWith('on')).length"
    assert browser.execute_script(handlers) == 0
    assert browser.get_log("browser") == []


def test_no_cell_is_a_formula(launched: tuple[Path, str]) -> None:
    tables = list((launched[0] / "outputs/tiny").rglob("*.csv"))
    assert tables
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        for cell in cells:
            assert not cell.startswith(FORMULA) or _is_number(cell), (path, cell)


def test_markdown_has_no_html_and_no_links_of_data(launched: tuple[Path, str]) -> None:
    text = (launched[0] / "outputs/tiny/report/report.md").read_text(encoding="utf-8")
    prose = "".join(text.split("```")[::2])
    assert "<script" not in prose
    assert "<img" not in prose
    assert "198.51" not in re.sub(r"`[^`]*`", "", prose)


def test_mlflow_gets_finite_numbers_and_an_inert_description(launched: tuple[Path, str]) -> None:
    with sqlite3.connect(launched[0] / "outputs/mlflow.db") as connection:
        assert connection.execute("select count(*) from metrics where is_nan").fetchone() == (0,)
        notes = connection.execute("select value from tags where key = 'mlflow.note.content'").fetchall()
    assert notes
    for (note,) in notes:
        assert "<script" not in note
        assert not STEERING.findall(note)


def test_no_secret_of_the_environment_is_written(launched: tuple[Path, str]) -> None:
    folder, said = launched
    files = [path for path in (folder / "outputs").rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in said


def test_files_keep_every_label_as_it_is(launched: tuple[Path, str]) -> None:
    (task,) = report(launched[0])["tasks"]
    assert set(task["labels"]) == set(TEXTS.values())
    for path in (launched[0] / "outputs/tiny/predictions").glob("*.parquet"):
        assert sorted(pd.read_parquet(path)["target"]) == sorted([*TEXTS.values()] * 2)


def test_an_export_answers_with_the_labels(launched: tuple[Path, str]) -> None:
    code, said = run("export", "tiny", "--method", "head_only", "--out", "out <b>", cwd=launched[0])
    assert code == 0, said
    assert not STEERING.findall(said)
    loaded = methods.load(launched[0] / "out <b>")
    assert set(loaded.saved.tasks[0].labels) == set(TEXTS.values())
    assert set(loaded.predict(list(TEXTS.values()))) <= set(TEXTS.values())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
