"""What was not measured is left out or marked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dashboards.report.report import build, write
from tests.dashboards.studies import Rows, Study, empty, page_text, probe


def test_what_is_missing_is_left_out(study: Study, tmp_path: Path) -> None:
    rows = study(seeds=1)
    write(rows, tmp_path)
    assert "one seed gives no interval" in page_text(tmp_path)
    rows["finalists"], rows["partial"], rows["outcome"] = [], True, "budget ended"
    report = write(rows, tmp_path)
    text = page_text(tmp_path)
    assert report["verdict"]["decision"] == "none"
    assert report["verdict"]["snippet"] is None
    assert "4 failed" in text


@pytest.mark.parametrize("shape", ["whole", "search alone", "empty"])
def test_not_measured_is_seldom_said(rows: Rows, tmp_path: Path, shape: str) -> None:
    """Tables have a dash, and empty sections are left out."""
    if shape == "search alone":
        rows["finalists"] = []
    write(empty(rows) if shape == "empty" else rows, tmp_path)
    for text in (page_text(tmp_path), (tmp_path / "report.md").read_text()):
        assert text.lower().count("not measured") <= 10
        assert not re.search(r"\b(None|nan|adds not|none\.)", text)


def test_sections_without_content_are_left_out(rows: Rows, tmp_path: Path) -> None:
    def sections() -> list[str]:
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        found = re.findall(r'<section id="(\w+)">', html)
        assert re.findall(r'<a href="#(\w+)">', html.partition("</nav>")[0]) == found
        return found

    write(rows, tmp_path)
    assert len(sections()) == 12
    rows["finalists"] = []
    for trial in rows["trials"]:
        trial.update(state="COMPLETE", error=None, curve=[])
    write(rows, tmp_path)
    assert sections() == ["verdict", "pareto", "methods", "enough", "why", "provenance", "trials"]
    write(empty(rows), tmp_path)
    assert sections() == ["verdict", "provenance"]


def test_wishes_that_one_method_answers_are_left_out(study: Study, tmp_path: Path) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.9, "full": 0.8})
    write(rows, tmp_path)
    assert "If you value" not in page_text(tmp_path)
    probe(rows, head_only=0.1, prompt_tuning=0.2, full=0.3)
    write(rows, tmp_path)
    text = page_text(tmp_path)
    assert "If you value …  You value" not in text
    assert "What each finalist costs" in text


def test_few_seeds_are_said(study: Study, tmp_path: Path) -> None:
    write(study(seeds=2), tmp_path)
    assert "have only 2 seeds" in page_text(tmp_path)
    write(study(seeds=5), tmp_path)
    assert "have only" not in page_text(tmp_path)


def test_empty_study(rows: Rows, tmp_path: Path) -> None:
    report = write(empty(rows), tmp_path)
    assert report["verdict"]["decision"] == "none"
    assert report["pareto_front"] == []
    assert "no trial has run" in page_text(tmp_path)
    nothing = {**empty(rows), "methods": [], "tasks": []}
    assert write(nothing, tmp_path)["methods"] == []


def test_every_optional_value_may_be_missing(rows: Rows, tmp_path: Path) -> None:
    keep = {"number", "method", "state", "config", "curve"}
    for trial in rows["trials"]:
        trial.update({name: None for name in trial if name not in keep})
    for finalist in rows["finalists"]:
        finalist.update(trained_parameters=None, deployed_parameters=None, head_parameters=None)
        for run in finalist["runs"]:
            run.update({name: None for name in run if name not in {"seed", "state"}})
    rows["provenance"] = dict.fromkeys(rows["provenance"])
    assert write(rows, tmp_path)["verdict"]["decision"] == "none"


def test_not_a_number_is_null(rows: Rows) -> None:
    rows["trials"][0]["validation"] = float("nan")
    rows["finalists"][0]["runs"][0]["test"] = float("inf")
    report = build(rows)
    assert report["trials"][0]["validation"] is None
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("scores", [[1.7e308] * 5, [1.7e308, -1.7e308, 1e308, -1e308, 0.0]])
def test_scores_near_the_largest_float_print_few_digits(
    rows: Rows, tmp_path: Path, scores: list[float]
) -> None:
    """As of a perplexity that overflows. The page had 300 digits, or none was written."""
    for each in rows["finalists"]:
        for run, score in zip(each["runs"], scores, strict=True):
            run.update(test=score, validation=score, examples=None, test_task_scores={"topic": score})
    for trial in rows["trials"]:
        if trial["state"] == "COMPLETE":
            trial.update(validation=scores[trial["number"]], task_scores={"topic": scores[trial["number"]]})
    report = write(rows, tmp_path)
    assert {method["state"] for method in report["methods"]} == {
        "has test scores that are too large to compare"
    }
    for text in (page_text(tmp_path), (tmp_path / "report.md").read_text()):
        assert not re.findall(r"[\d.,]{14,}", text)
