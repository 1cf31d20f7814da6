"""The search itself: its budget, early stopping, failures."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dashboards.findings.effort import expected_best, second_half_gain
from dashboards.findings.stopping import checks
from dashboards.report.report import build, write
from tests.dashboards.studies import Rows, page_text


def test_expected_best_is_the_mean_over_all_draws() -> None:
    scores = [0.3, 0.9, 0.5]
    for n, expected in enumerate(expected_best(scores), start=1):
        draws = itertools.product(scores, repeat=n)
        assert expected == pytest.approx(np.mean([max(draw) for draw in draws]))
    assert expected_best([]) == []
    assert second_half_gain([0.1, 0.2, 0.3]) is None
    assert second_half_gain([0.1, 0.2, 0.25, 0.26]) == pytest.approx(0.06)


def curve(number: int, state: str, *scores: float) -> dict[str, Any]:
    points = [
        {"step": 10 * i, "validation": s, "loss": 1.0, "seconds": 1.0} for i, s in enumerate(scores, start=1)
    ]
    return {"number": number, "state": state, "validation": scores[-1], "curve": points}


def test_checks_tell_who_was_stopped_and_what_they_are_worth() -> None:
    ends = [(0.4, 0.5), (0.6, 0.9), (0.5, 0.6), (0.3, 0.7)]
    trials = [curve(i, "COMPLETE", *end) for i, end in enumerate(ends)]
    trials += [curve(4, "PRUNED", 0.65), curve(5, "PRUNED", 0.1)]
    (check,) = checks(trials, best=1)  # type: ignore[arg-type]
    assert (check["step"], check["reached"], check["stopped"]) == (10, 6, 2)
    assert (check["best_rank"], check["stopped_ahead"]) == (2, 1)
    assert check["correlation"] == pytest.approx(stats.spearmanr(*zip(*ends, strict=True)).statistic)
    assert checks(trials[:4], best=1) == []  # type: ignore[arg-type]
    assert checks([*trials[:3], trials[4]], best=1)[0]["correlation"] is None  # type: ignore[arg-type]


def test_saved_steps_follow_the_settings(rows: Rows, tmp_path: Path) -> None:
    assert build(rows)["search"]["steps_saved"] == 8 * 30
    rows["search"] = {
        "sampler": "tpe", "early_stopping": True, "eta": 3, "max_steps": 50, "eval_steps": 15, "trials_per_method": 6,
    }  # fmt: skip
    assert write(rows, tmp_path)["search"]["steps_saved"] == 8 * 35 + 12 * 5
    assert "at each check the best third goes on" in page_text(tmp_path)


def test_more_trials_are_worth_it_while_the_expectation_rises(rows: Rows) -> None:
    rows["epsilon"] = 0.005
    assert build(rows)["methods"][1]["more_trials"] is True
    rows["epsilon"] = 0.5
    assert build(rows)["methods"][1]["more_trials"] is False


def test_edges_and_effort(rows: Rows) -> None:
    report = build(rows)
    full = report["methods"][3]
    assert [(edge["parameter"], edge["bound"]) for edge in full["at_edge"]] == [("learning_rate", "high")]
    assert report["search"]["stopped_early"] == 8
    assert report["search"]["ended"] == 20
    assert report["search"]["steps_saved"] == 8 * 30
    assert full["best_came_after"] == 4


def test_failures_are_grouped_by_cause(rows: Rows) -> None:
    rows["trials"][0].update(
        state="FAIL", error="Traceback (most recent call last):\n  File x\nRuntimeError: out of memory"
    )
    rows["finalists"][0]["runs"][0].update(state="FAIL", error=None)
    first, second = build(rows)["failures"]
    assert (first["cause"], first["count"]) == ("RuntimeError: out of memory", 5)
    assert second["cause"] == "no cause was recorded"
