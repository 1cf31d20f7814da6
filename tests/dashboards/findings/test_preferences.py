"""What to take for which wish."""

from __future__ import annotations

from pathlib import Path

from dashboards.findings.contest import contest
from dashboards.findings.preferences import preferences
from dashboards.report.report import build, write
from tests.dashboards.studies import Rows, Study, finalist, probe


def test_what_is_within_epsilon_is_so_by_its_mean(study: Study) -> None:
    """As for the other wishes; the verdict asks for an interval."""
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.893, "p_tuning_v2": 0.9, "full": 0.6})
    report = build(rows)  # type: ignore[arg-type]
    means = {m["method"]: f["test"]["mean"] for m in report["methods"] for f in m["finalists"] if f["test"]}
    near = [name for name, mean in means.items() if mean >= max(means.values()) - rows["epsilon"]]
    (wish,) = (row for row in report["preferences"] if row["value"] == "smallest within epsilon")
    assert near == ["prompt_tuning", "p_tuning_v2"], "from cheap to expensive"
    assert wish["method"] == "prompt_tuning"


def test_speed_and_memory_come_from_the_probe(rows: Rows) -> None:
    wish = {row["value"]: row for row in build(rows)["preferences"]}
    assert wish["best score"]["method"] == "full"
    assert wish["smallest within epsilon"]["method"] == "prompt_tuning"
    assert wish["fastest to train"]["method"] is None
    probe(rows, head_only=0.1, prompt_tuning=0.4, p_tuning_v2=0.3, full=0.9)
    wish = {row["value"]: row for row in build(rows)["preferences"]}
    assert (wish["fastest to train"]["method"], wish["fastest to train"]["figure"]) == ("p_tuning_v2", 30.0)
    assert wish["fastest to train"]["overall"]["method"] == "head_only"
    assert wish["least memory"]["method"] == "full"
    finalist(rows, "full")["probe"]["device"] = "gpu"
    wish = {row["value"]: row for row in build(rows)["preferences"]}
    assert wish["fastest to serve"]["method"] is None
    assert "different devices" in wish["fastest to serve"]["note"]


def test_a_figure_that_is_no_number_is_not_measured(rows: Rows, tmp_path: Path) -> None:
    probe(rows, prompt_tuning=float("nan"), full=0.9)
    wish = {row["value"]: row for row in write(rows, tmp_path)["preferences"]}
    assert wish["fastest to train"]["method"] == "full"
    assert wish["fastest to train"]["note"] == "not measured alone: head_only, prompt_tuning, p_tuning_v2"


def test_only_methods_that_learned_are_taken(study: Study) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.6, "p_tuning_v2": 0.9})
    probe(rows, head_only=0.1, prompt_tuning=0.2, p_tuning_v2=0.3)
    hard = {"test": 0.6, "test_task_scores": {"topic": 0.6}, "answers": {"topic": "the most frequent label"}}
    rows["trivial"] = {**hard, "examples": finalist(rows, "head_only")["runs"][0]["examples"]}
    wishes = preferences(contest(rows))  # type: ignore[arg-type]
    assert {row["method"] for row in wishes} == {"p_tuning_v2"}
    assert [row["overall"] for row in wishes] == [None] * 5, (
        "a cheaper method that did not learn is no choice"
    )
    rows["finalists"] = [f for f in rows["finalists"] if f["method"] == "head_only"]
    wishes = preferences(contest(rows))  # type: ignore[arg-type]
    assert {row["note"] for row in wishes} == {"no method learned anything"}


def test_the_smallest_counts_heads(rows: Rows) -> None:
    finalist(rows, "prompt_tuning")["head_parameters"] = 50_000
    wish = {row["value"]: row for row in preferences(contest(rows))}  # type: ignore[arg-type]
    small = wish["smallest within epsilon"]
    assert (small["method"], small["figure"]) == ("p_tuning_v2", 46080), (
        "its figure is without heads, as elsewhere"
    )


def test_equal_costs_are_not_cheaper(study: Study) -> None:
    rows = study(accuracy={"prompt_tuning": 0.7, "p_tuning_v2": 0.9, "full": 0.904})
    for method in ("prompt_tuning", "p_tuning_v2", "full"):
        finalist(rows, method)["deployed_parameters"] = 100
    probe(rows, prompt_tuning=0.4, p_tuning_v2=0.4, full=0.4)
    wishes = preferences(contest(rows))  # type: ignore[arg-type]
    assert {row["method"] for row in wishes} == {"full"}, "of equal ones the better"
    assert [row["overall"] for row in wishes] == [None] * 5
