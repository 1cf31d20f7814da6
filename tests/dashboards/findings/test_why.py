"""What the hyperparameters did."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.findings.why import path
from dashboards.report.report import build, write
from tests.dashboards.studies import Rows, page_text


def test_the_path_leads_from_the_default_to_the_best(rows: Rows, tmp_path: Path) -> None:
    steps = path([t for t in rows["trials"] if t["method"] == "prompt_tuning"])
    assert [step["number"] for step in steps] == [0, 1, 3]
    assert [step["gain"] for step in steps] == [None, pytest.approx(0.012), pytest.approx(0.024)]
    names = {change["parameter"]: (change["before"], change["after"]) for change in steps[2]["changed"]}
    assert names == {"learning_rate": (0.004, 0.01), "num_virtual_tokens": (6, 10)}
    rows["methods"][1]["importances"] = {"num_virtual_tokens": 0.77, "learning_rate": 0.23}
    assert write(rows, tmp_path)["methods"][1]["importances"]["num_virtual_tokens"] == 0.77
    assert "num_virtual_tokens 77 %" in " ".join(page_text(tmp_path).split())


def test_the_gain_over_the_default_is_on_fresh_seeds(rows: Rows) -> None:
    assert build(rows)["methods"][2]["default_gain"] is None
    rows["finalists"][-1]["role"] = "default"
    assert build(rows)["methods"][2]["default_gain"] == pytest.approx(0.01)
