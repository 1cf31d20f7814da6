"""What to take for which wish."""

from __future__ import annotations

from pathlib import Path

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
