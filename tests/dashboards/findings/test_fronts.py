"""Fronts and trade-offs, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashboards.findings.fronts import front, knee, of_trials
from dashboards.report.report import write
from tests.dashboards.studies import Rows, page_text, probe


def point(number: int, cost: float, score: float) -> dict[str, Any]:
    return {"method": "m", "number": number, "cost": cost, "score": score}


def test_front_and_knee_by_hand() -> None:
    points = [
        point(0, 10, 0.5),
        point(1, 100, 0.8),
        point(2, 1000, 0.85),
        point(3, 500, 0.6),
        point(4, 100, 0.8),
    ]
    found = front(points)
    assert [p["number"] for p in found] == [0, 1, 2]
    assert knee(found) == points[1]
    assert knee(found[:2]) is None
    assert knee([point(0, 10, 0.5), point(1, 100, 0.52), point(2, 1000, 0.85)]) is None


def test_pareto_front(rows: Rows) -> None:
    points = [(0, 0.7), (0, 0.6), (100, 0.8), (100, 0.7), (50, 0.65), (200, 0.8), (300, 0.9), (10, None)]
    trials = []
    for number, (cost, validation) in enumerate(points):
        trials.append(
            {**rows["trials"][0], "number": number, "deployed_parameters": cost, "validation": validation}
        )
    trials.append(
        {**rows["trials"][0], "number": 99, "deployed_parameters": 1, "validation": 0.99, "state": "PRUNED"}
    )
    assert [point["number"] for point in front(of_trials(trials, "deployed_parameters"))] == [0, 2, 6]


def test_costs_of_the_probe_have_fronts(rows: Rows, tmp_path: Path) -> None:
    fronts = {entry["axis"]: entry for entry in write(rows, tmp_path)["fronts"]}
    assert fronts["latency"]["front"] == []
    assert "Not measured: training time, memory, latency, size" in page_text(tmp_path)
    probe(rows, head_only=0.1, prompt_tuning=0.4, p_tuning_v2=0.3, full=0.9)
    fronts = {entry["axis"]: entry for entry in write(rows, tmp_path)["fronts"]}
    assert [p["method"] for p in fronts["latency"]["front"]] == ["head_only", "p_tuning_v2", "full"]
    assert (tmp_path / "report.html").read_text().count('id="front-') == 6
