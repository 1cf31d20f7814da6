"""The report's content and files: the documented fields, edits that show, escapes, and what is missing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.report import page
from dashboards.report.report import build, leaderboard_markdown, pareto_front, trials_csv, write

Study = Callable[..., dict[str, Any]]

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'</script>|=1+1"


def page_text(folder: Path) -> str:
    """What a reader sees of report.html, without tags."""
    html = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", html))


def empty(rows: dict[str, Any]) -> dict[str, Any]:
    """A study that was interrupted before its first trial."""
    return {
        **rows,
        "trials": [],
        "finalists": [],
        "provenance": {},
        "partial": True,
        "outcome": "interrupted",
    }


def test_documented_fields(rows: dict[str, Any]) -> None:
    report = build(rows)
    assert report["schema_version"] == 1
    for name in (
        "study",
        "verdict",
        "methods",
        "pareto_front",
        "trials",
        "test_readings",
        "partial",
        "provenance",
    ):
        assert name in report
    for name in ("decision", "basis", "method", "config", "reason", "epsilon", "comparisons"):
        assert name in report["verdict"]
    for name in ("method", "against", "difference", "ci_low", "ci_high", "p_value", "p_holm", "tie"):
        assert all(name in row for row in report["verdict"]["comparisons"])
    counts = ["trials", "completed", "pruned", "failed", "best_validation"]
    for name in (
        "method",
        *counts,
        "trained_parameters",
        "deployed_parameters",
        "head_parameters",
        "finalists",
    ):
        assert all(name in method for method in report["methods"])
    finalist = report["methods"][1]["finalists"][0]
    assert set(finalist) >= {"config", "number", "role", "chosen", "seeds", "validation", "test"}
    assert set(finalist["validation"]) == {"values", "mean"}
    assert set(finalist["test"]) >= {"metric", "values", "mean", "ci_low", "ci_high"}
    assert len(finalist["seeds"]) == len(finalist["test"]["values"]) == 5
    for name in (
        "number", "method", "state", "params", "seed", "validation", "task_scores", "trained_parameters",
        "deployed_parameters", "seconds", "started", "ended", "error", "checkpoint", "mlflow_run_id",
    ):  # fmt: skip
        assert all(name in trial for trial in report["trials"])
    for name in ("versions", "commit", "seeds", "model", "data", "machine"):
        assert name in report["provenance"]


def test_counts(rows: dict[str, Any]) -> None:
    method = build(rows)["methods"][1]
    assert [method[name] for name in ("trials", "completed", "pruned", "failed")] == [6, 3, 2, 1]
    assert method["best_validation"] == max(
        t["validation"] or 0 for t in rows["trials"] if t["method"] == "prompt_tuning"
    )
    assert method["deployed_parameters"] == 3840
    assert method["backbone_share"] == pytest.approx(3840 / 22713216)


def test_only_the_chosen_finalist_has_a_test(rows: dict[str, Any]) -> None:
    finalists = build(rows)["methods"][2]["finalists"]
    assert [finalist["test"] is not None for finalist in finalists] == [True, False]


def test_pareto_front(rows: dict[str, Any]) -> None:
    points = [(0, 0.7), (0, 0.6), (100, 0.8), (100, 0.7), (50, 0.65), (200, 0.8), (300, 0.9), (10, None)]
    trials = []
    for number, (cost, validation) in enumerate(points):
        trials.append(
            {**rows["trials"][0], "number": number, "deployed_parameters": cost, "validation": validation}
        )
    trials.append(
        {**rows["trials"][0], "number": 99, "deployed_parameters": 1, "validation": 0.99, "state": "PRUNED"}
    )
    assert [point["number"] for point in pareto_front(trials)] == [0, 2, 6]


def test_edges_and_effort(rows: dict[str, Any]) -> None:
    report = build(rows)
    full = report["methods"][3]
    assert [(edge["parameter"], edge["bound"]) for edge in full["at_edge"]] == [("learning_rate", "high")]
    assert report["search"]["stopped_early"] == 8
    assert report["search"]["ended"] == 20
    assert report["search"]["steps_saved"] == 8 * 30
    assert full["best_came_after"] == 4


def test_failures_are_grouped_by_cause(rows: dict[str, Any]) -> None:
    rows["trials"][0].update(
        state="FAIL", error="Traceback (most recent call last):\n  File x\nRuntimeError: out of memory"
    )
    rows["finalists"][0]["runs"][0].update(state="FAIL", error=None)
    first, second = build(rows)["failures"]
    assert (first["cause"], first["count"]) == ("RuntimeError: out of memory", 5)
    assert second["cause"] == "no cause was recorded"


def test_editing_rows_changes_numbers_and_verdict(rows: dict[str, Any], tmp_path: Path) -> None:
    before = write(rows, tmp_path)
    assert f"{before['methods'][1]['finalists'][0]['test']['mean']:.3f}" in page_text(tmp_path)
    for finalist in rows["finalists"]:
        if finalist["method"] == "prompt_tuning":
            for run in finalist["runs"]:
                run["test"], run["examples"] = 0.123, {"topic": [0] * 400}
    after = write(rows, tmp_path)
    assert (before["verdict"]["method"], after["verdict"]["method"]) == ("prompt_tuning", "p_tuning_v2")
    assert "0.123" in page_text(tmp_path)


def test_figures_of_the_page_are_those_of_the_json(rows: dict[str, Any], tmp_path: Path) -> None:
    write(rows, tmp_path)
    report, text = json.loads((tmp_path / "report.json").read_text()), page_text(tmp_path)
    assert report["verdict"]["reason"].replace(">", "&gt;") in text
    for method in report["methods"]:
        assert method["method"] in text
        for finalist in method["finalists"]:
            assert finalist["test"] is None or f"{finalist['test']['mean']:.3f}" in text


def test_sections_and_offline(rows: dict[str, Any], tmp_path: Path) -> None:
    write(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Verdict", "If you value …", "Pareto front", "Methods", "Pairs", "Was the search enough?",
        "Why: what the hyperparameters did", "The playbook's claims, measured", "Learning curves", "Failures",
        "Provenance", "Every trial",
    ]  # fmt: skip
    assert not re.search(r"https?://|//cdn|@import|url\(", html)
    assert len(html) < 3_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
        "trials.csv",
    ]


def test_what_is_missing_is_not_measured(study: Study, tmp_path: Path) -> None:
    rows = study(seeds=1)
    write(rows, tmp_path)
    text = page_text(tmp_path)
    assert "interval not measured" in text
    rows["finalists"], rows["partial"], rows["outcome"] = [], True, "budget ended"
    report = write(rows, tmp_path)
    text = page_text(tmp_path)
    assert report["verdict"]["decision"] == "none"
    assert report["verdict"]["snippet"] is None
    assert "not measured" in text
    assert "Partial report" in text
    assert "budget ended" in text


def test_few_seeds_are_said(study: Study, tmp_path: Path) -> None:
    write(study(seeds=3), tmp_path)
    assert "Few seeds" in page_text(tmp_path)
    write(study(seeds=5), tmp_path)
    assert "Few seeds" not in page_text(tmp_path)


def test_empty_study(rows: dict[str, Any], tmp_path: Path) -> None:
    report = write(empty(rows), tmp_path)
    assert report["verdict"]["decision"] == "none"
    assert report["pareto_front"] == []
    assert "No trial has run" in page_text(tmp_path)
    nothing = {**empty(rows), "methods": [], "tasks": []}
    assert write(nothing, tmp_path)["methods"] == []


def test_every_optional_value_may_be_missing(rows: dict[str, Any], tmp_path: Path) -> None:
    keep = {"number", "method", "state", "params", "curve"}
    for trial in rows["trials"]:
        trial.update({name: None for name in trial if name not in keep})
    for finalist in rows["finalists"]:
        finalist.update(trained_parameters=None, deployed_parameters=None, head_parameters=None)
        for run in finalist["runs"]:
            run.update({name: None for name in run if name not in {"seed", "state"}})
    rows["provenance"] = dict.fromkeys(rows["provenance"])
    assert write(rows, tmp_path)["verdict"]["decision"] == "none"


def test_not_a_number_is_null(rows: dict[str, Any]) -> None:
    rows["trials"][0]["validation"] = float("nan")
    rows["finalists"][0]["runs"][0]["test"] = float("inf")
    report = build(rows)
    assert report["trials"][0]["validation"] is None
    json.dumps(report, allow_nan=False)


def test_text_from_data_is_escaped(rows: dict[str, Any], tmp_path: Path) -> None:
    rows["study"] = rows["outcome"] = rows["backbone"]["name"] = EVIL
    rows["partial"] = True
    rows["trials"][5]["error"] = EVIL + "\n" + EVIL
    rows["trials"][6]["params"] = {EVIL: EVIL, "learning_rate": 0.1}
    rows["trials"][6]["mlflow_run_id"] = EVIL
    rows["tasks"][0]["name"] = EVIL
    rows["finalists"][1]["config"] = {EVIL: EVIL}
    rows["provenance"]["study_file"] = rows["provenance"]["command"] = EVIL
    rows["methods"][0].update(method=EVIL, title=EVIL)
    for row in (*rows["trials"], *rows["finalists"]):
        row["method"] = EVIL if row["method"] == "head_only" else row["method"]
    report = write(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<script>") == html.count("</script>") == 1
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>" not in (tmp_path / "report.md").read_text(encoding="utf-8").split("```")[0]
    assert "<script>" not in leaderboard_markdown(report).split("```")[0]


def test_csv_has_every_trial_and_no_formula(rows: dict[str, Any]) -> None:
    rows["trials"][0]["params"] = {"learning_rate": -0.5, "init": "=cmd()", "@x": "+1"}
    rows["trials"][0]["error"] = "-1 is not allowed"
    table = list(csv.DictReader(trials_csv(build(rows)).splitlines()))
    assert len(table) == len(rows["trials"])
    first = table[0]
    assert (first["params.learning_rate"], first["params.init"]) == ("-0.5", "'=cmd()")
    assert (first["params.@x"], first["error"]) == ("'+1", "'-1 is not allowed")


def test_leaderboard_is_short_and_reproducible(rows: dict[str, Any]) -> None:
    text = leaderboard_markdown(build(rows))
    assert "winner by cost" in text
    assert "| prompt_tuning |" in text
    assert "learning_rate: 0.01" in text
    assert len(text) < 4000


def test_minimized_objectives_are_refused(rows: dict[str, Any]) -> None:
    rows["objective"]["direction"] = "minimize"
    with pytest.raises(ValueError, match="minimize"):
        build(rows)


def test_a_failed_write_leaves_the_old_file(
    rows: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(rows, tmp_path)
    before = (tmp_path / "report.json").read_text()

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", broken)
    rows["study"] = "other"
    with pytest.raises(OSError, match="disk full"):
        write(rows, tmp_path)
    assert (tmp_path / "report.json").read_text() == before
    assert len(list(tmp_path.iterdir())) == 4


EXPORTED = {
    "method": "p_tuning_v2", "config": {"learning_rate": 0.01, "readout": "model"}, "trial": "p_tuning_v2-final-001",
    "seed": 7, "validation": 0.91, "trained_parameters": 46080, "deployed_parameters": 46080, "head_parameters": 770,
    "file_parameters": 46850, "peft": {"topic": None}, "peft_parameters": {"topic": 46850},
}  # fmt: skip


def test_a_model_card_has_scores_counts_and_origin(rows: dict[str, Any]) -> None:
    report = build(rows)
    card = page.card(report, EXPORTED, "my model")
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "peft"
    (method,) = (m for m in report["methods"] if m["method"] == "p_tuning_v2")
    (finalist,) = (f for f in method["finalists"] if f["chosen"])
    for expected in (
        f"{finalist['test']['mean']:.3f}", "95 % interval", "trained 46,080, deployed 46,080, heads 770",
        "seed 7", "f00d" * 16, "readout: model", 'methods.load("my model")', "abc123",
    ):  # fmt: skip
        assert expected in body


def test_a_model_card_says_what_peft_cannot(rows: dict[str, Any]) -> None:
    exported = {**EXPORTED, "peft": {"topic": "train with readout: model"}, "peft_parameters": {}}
    card = page.card(build(rows), exported, "folder")
    assert yaml.safe_load(card.split("---\n")[1])["library_name"] == "promptfront"
    assert "peft has no form of it (topic): train with readout: model" in card
    rows["finalists"] = []
    assert "| test score | not measured |" in page.card(build(rows), exported, "folder")
