"""trials.csv with hostile texts in every column of text, opened by LibreOffice."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dashboards.report.report import write
from tests.dashboards.studies import Rows
from tests.hostile.texts import FORMULA, TEXTS


@pytest.fixture
def table(rows: Rows, tmp_path: Path) -> Path:
    first = rows["trials"][0]
    rows["trials"] += [
        {
            **first,
            "number": 100 + number,
            "state": "FAIL",
            "error": text,
            "mlflow_run_id": text,
            "checkpoint": text,
            "config": {**first["config"], text: text},
        }
        for number, text in enumerate(TEXTS.values())
    ]
    write(rows, tmp_path)
    return tmp_path / "trials.csv"


def test_no_cell_begins_as_a_formula(table: Path) -> None:
    with table.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert len({len(line) for line in lines}) == 1
    cells = [cell for line in lines for cell in line]
    assert len([cell for cell in cells if "=1+1" in cell]) >= 4 * 3, "the texts are there"
    assert not [cell for cell in cells if cell.startswith(FORMULA)]


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is needed")
def test_a_spreadsheet_calculates_nothing(table: Path) -> None:
    command = [
        "soffice",
        f"-env:UserInstallation=file://{table.parent}/office",
        "--headless",
        "--convert-to",
        "fods",
    ]
    subprocess.run(
        [*command, str(table), "--outdir", str(table.parent)], check=True, capture_output=True, timeout=120
    )
    content = table.with_suffix(".fods").read_text(encoding="utf-8")
    assert "HYPERLINK" in content
    assert not re.findall(r"table:formula=.{0,80}", content)
    assert not re.findall(r"<text:a .{0,80}", content)
