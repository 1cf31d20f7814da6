"""Pairs of methods: their outcomes and corrected p values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dashboards.findings.pairs import outcome
from dashboards.findings.statistics import difference
from dashboards.findings.verdict import contenders
from dashboards.report.report import build
from tests.dashboards.studies import Rows, finalist


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (-0.005, 0.008, 0.6, "equal"), (0.002, 0.009, 0.001, "equal"), (0.02, 0.05, 0.001, "better"),
        (-0.05, -0.02, 0.001, "worse"), (-0.01, 0.05, 0.2, "not shown"), (None, None, None, "not measured"),
    ],
)  # fmt: skip
def test_outcomes(low: float | None, high: float | None, p: float | None, expected: str) -> None:
    gap = 0.0 if low is None or high is None else (low + high) / 2
    row = {"difference": gap, "ci_low": low, "ci_high": high, "p_value": p, "p_holm": p}
    assert outcome(row, 0.01) == expected


def test_pairs_are_against_the_recommended_method_and_head_only(rows: Rows) -> None:
    found = {(row["family"], row["method"], row["against"]): row for row in build(rows)["pairs"]}
    assert len(found) == 6
    gain = found["head_only", "full", "head_only"]
    assert gain["outcome"] == "better"
    assert gain["ci_low"] < gain["difference"] < gain["ci_high"]
    assert found["recommended", "prompt_tuning", "p_tuning_v2"]["outcome"] == "equal"
    for run in finalist(rows, "full")["runs"]:
        run["test"], run["examples"] = 0.2, {"topic": [1, 0, 0, 0, 0] * 80}
    found = {(row["family"], row["method"]): row for row in build(rows)["pairs"]}
    assert found["head_only", "full"]["outcome"] == "worse"


def test_p_values_of_pairs_are_corrected_over_all_pairs(rows: Rows) -> None:
    tested = contenders(rows)
    raw = {
        frozenset((one.method, other.method)): difference(one.sample, other.sample).p_value
        for one, other in itertools.combinations(tested, 2)
    }
    ranked = sorted(raw, key=lambda pair: raw[pair])
    factors = np.arange(len(raw), 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate([raw[pair] for pair in ranked] * factors))
    expected = dict(zip(ranked, adjusted, strict=True))
    assert len(expected) == 6
    for row in build(rows)["pairs"]:
        assert row["p_holm"] == pytest.approx(expected[frozenset((row["method"], row["against"]))])
        assert row["tie"] == (row["p_holm"] >= 0.05)
