"""Each decision of the verdict, its basis, and that noise wins nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dashboards.findings.verdict import decide

Study = Callable[..., dict[str, Any]]


def score_everything(rows: dict[str, Any], tables: dict[str, np.ndarray]) -> None:
    """Replaces the test scores of the chosen finalists by tables [S, E]."""
    for finalist in rows["finalists"]:
        if finalist["chosen"]:
            table = tables[finalist["method"]]
            for run, row in zip(finalist["runs"], table, strict=True):
                run["test"], run["examples"] = float(row.mean()), {"topic": row.tolist()}


def test_winner_by_cost_is_the_cheapest_within_epsilon(rows: dict[str, Any]) -> None:
    found = decide(rows)
    assert (found.decision, found.basis, found.method) == ("winner", "cost", "prompt_tuning")
    assert found.best == "full"
    assert "0.01" in found.reason
    assert "full" in found.reason
    assert found.reason.endswith(".")


def test_winner_by_score_beats_all_others(study: Study) -> None:
    found = decide(
        study(accuracy={"head_only": 0.6, "prompt_tuning": 0.95, "p_tuning_v2": 0.85, "full": 0.86})
    )
    assert (found.decision, found.basis, found.method) == ("winner", "score", "prompt_tuning")
    assert all(
        row["difference"] > 0 and row["p_holm"] < 0.05 and row["tie"] is False for row in found.comparisons
    )


def test_a_dear_method_wins_by_score(study: Study) -> None:
    found = decide(study(accuracy={"head_only": 0.6, "prompt_tuning": 0.7, "p_tuning_v2": 0.75, "full": 0.9}))
    assert (found.decision, found.basis, found.method) == ("winner", "score", "full")


def test_the_cheapest_of_all_needs_to_beat_no_one(study: Study) -> None:
    found = decide(study(accuracy={"head_only": 0.9, "prompt_tuning": 0.9, "full": 0.9}))
    assert (found.decision, found.basis, found.method) == ("winner", "cost", "head_only")
    assert "better" not in found.reason


def test_no_difference_where_a_cheaper_method_is_not_beaten(rows: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    accuracy = {"head_only": 0.80, "prompt_tuning": 0.83, "p_tuning_v2": 0.60, "full": 0.60}
    score_everything(
        rows, {name: np.tile(rng.random(100) < value, (5, 1)) * 1.0 for name, value in accuracy.items()}
    )
    found = decide(rows)
    assert found.decision == "no difference"
    assert found.basis is None
    assert found.method == "prompt_tuning"
    assert found.config is not None
    assert "not shown to be better" in found.reason
    assert "head_only" in found.reason


def test_epsilon_decides_what_is_good_enough(rows: dict[str, Any]) -> None:
    rows["epsilon"] = 0.9
    assert decide(rows).method == "head_only"


def test_none_without_a_tested_finalist(rows: dict[str, Any]) -> None:
    rows["finalists"] = []
    found = decide(rows)
    assert (found.decision, found.method, found.config, found.comparisons) == ("none", None, None, [])
    rows["trials"] = []
    assert "No trial" in decide(rows).reason


def test_a_finalist_with_a_failed_seed_is_not_compared(rows: dict[str, Any]) -> None:
    finalist = next(f for f in rows["finalists"] if f["method"] == "prompt_tuning")
    finalist["runs"][0].update(state="FAIL", test=None, examples=None)
    found = decide(rows)
    assert "prompt_tuning" not in {row["against"] for row in found.comparisons}
    # Known to be cheaper and not beaten: it stops a winner.
    assert found.method == "p_tuning_v2"
    assert found.decision == "no difference"
    assert "prompt_tuning" in found.reason


def test_one_method_alone_has_won_nothing(study: Study) -> None:
    found = decide(study(accuracy={"head_only": 0.9}))
    assert (found.decision, found.method) == ("no difference", "head_only")


def test_one_seed_is_not_measured(study: Study) -> None:
    found = decide(study(seeds=1))
    assert found.decision == "no difference"
    assert all(
        row["ci_low"] is None and row["tie"] is None and row["p_holm"] is None for row in found.comparisons
    )


def test_without_examples_the_reason_says_so(rows: dict[str, Any]) -> None:
    for finalist in rows["finalists"]:
        for run in finalist["runs"]:
            run["examples"] = None
    assert "new seeds only" in decide(rows).reason


def test_a_head_is_not_counted(rows: dict[str, Any]) -> None:
    for finalist in rows["finalists"]:
        finalist["head_parameters"] = 10**9 if finalist["method"] == "prompt_tuning" else 1
    assert decide(rows).method == "prompt_tuning"


def test_equal_methods_seldom_win_by_score(rows: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    rounds, wins = 150, 0
    for _ in range(rounds):
        hard = rng.normal(0, 1, 60)
        tables = {
            name: (hard + rng.normal(0, 0.3, (5, 1)) + rng.normal(0, 0.7, (5, 60)) > -0.8).astype(float)
            for name in ("head_only", "prompt_tuning", "p_tuning_v2", "full")
        }
        score_everything(rows, tables)
        found = decide(rows)
        # A dear method that wins claims a difference to the cheaper ones, whatever its basis is called.
        wins += found.basis == "score" or (found.basis == "cost" and found.method != "head_only")
    assert wins / rounds <= 0.05, wins
