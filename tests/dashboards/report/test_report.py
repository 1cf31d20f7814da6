"""The report's content and files: fields, edits that show, CSV."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from dashboards.report.report import build, leaderboard_markdown, trials_csv, write
from dashboards.rows import COSTS, Trial
from tests.dashboards.studies import Rows, finalist, page_text


def test_documented_fields(rows: Rows) -> None:
    report = build(rows)
    assert report["schema_version"] == 3
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
    for name in (
        "decision",
        "method",
        "could_be_best",
        "provisional",
        "config",
        "reason",
        "sentence",
        "next",
    ):
        assert name in report["verdict"]
    for name in ("method", "against", "difference", "ci_low", "ci_high", "p_value", "claim", "outcome"):
        assert all(name in row for row in report["comparisons"])
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
        "number", "method", "state", "config", "seed", "validation", "task_scores", "trained_parameters",
        "deployed_parameters", "seconds", "started", "ended", "error", "checkpoint", "mlflow_run_id",
    ):  # fmt: skip
        assert all(name in trial for trial in report["trials"])
    for name in ("versions", "commit", "seeds", "model", "data", "machine"):
        assert name in report["provenance"]


def test_counts(rows: Rows) -> None:
    method = build(rows)["methods"][1]
    assert [method[name] for name in ("trials", "completed", "pruned", "failed")] == [6, 3, 2, 1]
    assert method["best_validation"] == max(
        t["validation"] or 0 for t in rows["trials"] if t["method"] == "prompt_tuning"
    )
    assert method["deployed_parameters"] == 3840
    assert method["backbone_share"] == pytest.approx(3840 / 22713216)


def test_only_the_chosen_finalist_has_a_test(rows: Rows) -> None:
    finalists = build(rows)["methods"][2]["finalists"]
    assert [finalist["test"] is not None for finalist in finalists] == [True, False]


def test_editing_rows_changes_numbers_and_verdict(rows: Rows, tmp_path: Path) -> None:
    before = write(rows, tmp_path)
    assert f"{before['methods'][1]['finalists'][0]['test']['mean']:.3f}" in page_text(tmp_path)
    for run in finalist(rows, "prompt_tuning")["runs"]:
        run["test"], run["examples"] = 0.123, {"topic": [0] * 400}
    after = write(rows, tmp_path)
    assert (before["verdict"]["method"], after["verdict"]["method"]) == ("prompt_tuning", "p_tuning_v2")
    assert "0.123" in page_text(tmp_path)


def test_figures_of_the_page_are_those_of_the_json(rows: Rows, tmp_path: Path) -> None:
    write(rows, tmp_path)
    report, text = json.loads((tmp_path / "report.json").read_text()), page_text(tmp_path)
    assert report["verdict"]["reason"].replace(">", "&gt;") in text
    for method in report["methods"]:
        assert method["method"] in text
        for each in method["finalists"]:
            assert each["test"] is None or f"{each['test']['mean']:.3f}" in text


def test_sections_and_offline(rows: Rows, tmp_path: Path) -> None:
    write(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Verdict", "If you value …", "Pareto front", "Methods", "Pairs", "Was the search enough?",
        "Why: what the hyperparameters did", "The Prompt Tuning Playbook, measured", "Learning curves", "Failures",
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


def test_csv_has_every_trial_and_no_formula(rows: Rows) -> None:
    rows["trials"][0]["config"] = {"learning_rate": -0.5, "init": "=cmd()", "@x": "+1"}
    rows["trials"][0]["error"] = "-1 is not allowed"
    table = list(csv.DictReader(trials_csv(build(rows)).splitlines()))
    assert len(table) == len(rows["trials"])
    first = table[0]
    assert (first["config.learning_rate"], first["config.init"]) == ("-0.5", "'=cmd()")
    assert (first["config.@x"], first["error"]) == ("'+1", "'-1 is not allowed")


def test_leaderboard_is_short_and_reproducible(rows: Rows) -> None:
    text = leaderboard_markdown(build(rows))
    assert text.startswith("**Tied.** No method is clearly the best")
    assert "| prompt_tuning |" in text
    assert "learning_rate: 0.01" in text
    assert len(text) < 4000


def test_minimized_objectives_are_refused(rows: Rows) -> None:
    rows["objective"]["direction"] = "minimize"
    with pytest.raises(ValueError, match="minimize"):
        build(rows)


def test_a_failed_write_leaves_the_old_file(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_every_measured_cost_is_a_column(rows: Rows, tmp_path: Path) -> None:
    assert set(COSTS) <= set(Trial.__annotations__)
    rows["trials"][0].update(dict.fromkeys(COSTS, 2.5))
    write(rows, tmp_path)
    header = (tmp_path / "trials.csv").read_text().splitlines()[0].split(",")
    assert set(COSTS) <= set(header)
    page = (tmp_path / "report.html").read_text().partition('id="trial-table"')[2].partition("</thead>")[0]
    for heading in ("Time", "Step", "Peak memory", "Latency"):
        assert f">{heading}</th>" in page


def test_collapsed_and_failed_seeds_are_named_where_the_method_stands(rows: Rows, tmp_path: Path) -> None:
    for run in finalist(rows, "p_tuning_v2")["runs"][:2]:
        run.update(test=0.5, examples={"topic": [1.0, 0.0] * 200})
    finalist(rows, "full")["runs"][0].update(state="FAIL", test=None, examples=None)
    report = write(rows, tmp_path)
    assert [method["collapsed_seeds"] for method in report["methods"]] == [0, 0, 2, 0]
    for text in (page_text(tmp_path), (tmp_path / "report.md").read_text(), leaderboard_markdown(report)):
        assert "2 of 5 seeds collapsed" in text
        assert "1 of 5 seeds failed" in text


def test_the_trivial_answer_stands_in_every_table(rows: Rows, tmp_path: Path) -> None:
    answer = [1.0] * 200 + [0.0] * 200
    scores = {"test": 0.5, "test_task_scores": {"topic": 0.5}, "examples": {"topic": answer}}
    rows["trivial"] = {**scores, "answers": {"topic": "always 'sport'"}}
    report = write(rows, tmp_path)
    assert set(report["trivial"]) == {"answers", "test", "test_task_scores"}
    gain = report["methods"][0]["gain_over_trivial"]
    assert gain["mean"] == pytest.approx(report["methods"][0]["finalists"][0]["test"]["mean"] - 0.5)
    assert gain["ci_low"] < gain["mean"] < gain["ci_high"]
    for text in ((tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()):
        assert "trivial answer" in text


def test_every_seed_is_a_dot(rows: Rows, tmp_path: Path) -> None:
    write(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    screen = html.partition('id="methods"')[2].partition("for-phone")[0]
    assert screen.count('class="seed ') == 20
