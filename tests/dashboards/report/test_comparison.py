"""Several studies on one page, and warnings."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from dashboards.report.comparison import compare, write
from tests.dashboards.studies import EVIL

Rows = dict[str, Any]


@pytest.fixture
def other(rows: Rows) -> Rows:
    """The same study under another name and seed, without full fine-tuning."""
    found = copy.deepcopy(rows)
    found["study"], found["provenance"]["seed"] = "another", 7
    found["methods"] = [method for method in found["methods"] if method["method"] != "full"]
    for name in ("trials", "finalists"):
        found[name] = [row for row in found[name] if row["method"] != "full"]
    return found


def test_side_by_side(rows: Rows, other: Rows) -> None:
    content = compare([rows, other])  # type: ignore[list-item]
    facts = {fact["fact"]: fact for fact in content["facts"]}
    assert facts["seed"] == {"fact": "seed", "values": [0, 7], "same": False}
    assert facts["model sha256"]["same"] is facts["test split of topic"]["same"] is True
    # Of the data of validation no hash is known.
    assert facts["validation split of topic"]["same"] is False
    assert content["warnings"] == []
    board = {row["method"]: row["results"] for row in content["leaderboard"]}
    assert board["full"][0]["test"]["mean"] > 0.85
    assert board["full"][1] is None
    assert board["prompt_tuning"][0] == board["prompt_tuning"][1]
    assert board["prompt_tuning"][0]["recommended"]


def test_test_splits_that_differ_are_warned_about(rows: Rows, other: Rows, tmp_path: Path) -> None:
    other["provenance"]["data"]["topic"]["test"] = "cc" * 32
    other.update(partial=True, outcome="interrupted")
    write([rows, other], tmp_path)  # type: ignore[list-item]
    warnings = json.loads((tmp_path / "comparison.json").read_text())["warnings"]
    assert "The test split of topic differs between the studies: scores do not compare." in warnings
    for name in ("comparison.html", "comparison.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert all(warning in text for warning in warnings)
    other["provenance"] = {}
    assert "not known" in compare([rows, other])["warnings"][0]  # type: ignore[list-item]
    other["objective"]["metric"] = "macro_f1"
    assert any("different metrics" in warning for warning in compare([rows, other])["warnings"])  # type: ignore[list-item]


def test_edited_rows_change_the_page(rows: Rows, other: Rows, tmp_path: Path) -> None:
    for finalist in other["finalists"]:
        for run in finalist["runs"]:
            run["test"], run["examples"] = 0.4321, None
    write([rows, other], tmp_path)  # type: ignore[list-item]
    for name in ("comparison.html", "comparison.md"):
        assert "0.432" in (tmp_path / name).read_text(encoding="utf-8")


def test_studies_without_trials(rows: Rows, other: Rows, tmp_path: Path) -> None:
    other.update(trials=[], finalists=[], provenance={})
    write([rows, other, rows], tmp_path)  # type: ignore[list-item]
    assert "–: not measured or not known" in (tmp_path / "comparison.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="two studies"):
        compare([rows])  # type: ignore[list-item]


def test_text_from_studies_is_escaped(rows: Rows, other: Rows, tmp_path: Path) -> None:
    for study in (rows, other):
        study["study"] = study["backbone"]["name"] = study["outcome"] = study["tasks"][0]["name"] = EVIL
        study["partial"] = True
        study["provenance"]["commit"] = EVIL
        for row in (*study["trials"], *study["finalists"], *study["methods"]):
            row["method"] = EVIL if row["method"] == "head_only" else row["method"]
    write([rows, other], tmp_path)  # type: ignore[list-item]
    html = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert html.count("<script>") == html.count("</script>") == 1
    assert "<img" not in html
    assert "<script>" not in (tmp_path / "comparison.md").read_text(encoding="utf-8")
