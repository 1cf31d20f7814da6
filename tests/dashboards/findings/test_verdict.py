"""Each decision of the verdict, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from dashboards.findings import verdict
from dashboards.findings.contest import contest
from dashboards.findings.verdict import Comparison, Verdict
from dashboards.statistics.joint import BOTH, SEEDS, Estimate
from dashboards.statistics.standing import Pair
from tests.dashboards.studies import Rows, Study, finalist, score


def decide(rows: Rows) -> Verdict:
    return verdict.decide(contest(rows))  # type: ignore[arg-type]


def comparisons(rows: Rows) -> list[Comparison]:
    return verdict.comparisons(contest(rows))  # type: ignore[arg-type]


def test_best_is_better_than_every_other(study: Study) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.95, "p_tuning_v2": 0.85, "full": 0.86})
    found = decide(rows)
    assert (found.decision, found.method, found.could_be_best) == ("best", "prompt_tuning", ["prompt_tuning"])
    assert found.reason.startswith(
        "prompt_tuning is better than every other method: the nearest, full, scores"
    )
    mine = [row for row in comparisons(rows) if row["method"] == "prompt_tuning"]
    assert len(mine) == 3
    assert all(
        row["outcome"] == "better" and row["p_value"] < 0.05 and row["claim"] == "best" for row in mine
    )


def test_an_expensive_method_can_be_the_best(study: Study) -> None:
    found = decide(study(accuracy={"head_only": 0.6, "prompt_tuning": 0.7, "p_tuning_v2": 0.75, "full": 0.9}))
    assert (found.decision, found.method) == ("best", "full")


def test_of_tied_methods_the_cheapest_is_taken_and_what_it_may_lose_is_said(rows: Rows) -> None:
    found = decide(rows)
    assert (found.decision, found.method, found.leader) == ("tied", "prompt_tuning", "full")
    assert found.could_be_best == ["prompt_tuning", "p_tuning_v2", "full"]
    assert found.may_lose is not None
    assert found.may_lose["against"] == "full"
    assert 0 < found.may_lose["at_most"] < 0.02
    assert found.reason.startswith("prompt_tuning, p_tuning_v2 and full are equal within 0.01;")
    assert "is the cheapest of them, and loses at most" in found.reason


def test_a_cheaper_method_that_is_a_standard_error_behind_is_not_taken(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    accuracy = {"head_only": 0.82, "prompt_tuning": 0.88, "p_tuning_v2": 0.60, "full": 0.60}
    score(rows, {name: np.tile(rng.random(100) < value, (5, 1)) * 1.0 for name, value in accuracy.items()})
    found = decide(rows)
    assert (found.decision, found.method) == ("tied", "prompt_tuning")
    assert found.could_be_best == ["head_only", "prompt_tuning"]
    assert "no cheaper one is within a standard error" in found.reason


def test_equal_prices_are_not_cheaper(rows: Rows) -> None:
    """Before: winner by cost, and no method is cheaper."""
    for each in rows["finalists"]:
        each.update(deployed_parameters=5000, head_parameters=0)
    found = decide(rows)
    assert found.decision == "tied"
    assert "cheapest" not in found.reason


def test_the_price_is_all_that_is_deployed(rows: Rows) -> None:
    for each in rows["finalists"]:
        each["head_parameters"] = 10**9 if each["method"] == "prompt_tuning" else 1
    assert decide(rows).method == "p_tuning_v2"


def test_none_without_a_tested_finalist(rows: Rows) -> None:
    rows["finalists"] = []
    found = decide(rows)
    assert (found.decision, found.method, found.config, comparisons(rows)) == ("none", None, None, [])
    expected = "12 of 24 trials are complete, 8 stopped early, 4 failed; no configuration has been retrained"
    assert found.reason.startswith(f"No method can be recommended yet: {expected}")
    rows["trials"] = []
    assert decide(rows).reason == "No method can be recommended yet: no trial has run."


def test_none_where_every_finalist_failed(rows: Rows) -> None:
    for each in rows["finalists"]:
        for run in each["runs"]:
            run.update(state="FAIL", test=None, examples=None)
    assert decide(rows).reason.endswith("(25 of 25 runs failed).")


def test_a_failed_seed_leaves_a_method_in_the_comparison(rows: Rows) -> None:
    """Before, the method was dropped without a word, and another was better than every other method."""
    finalist(rows, "full")["runs"][0].update(state="FAIL", test=None, examples=None)
    found = decide(rows)
    assert "full" in {name for row in comparisons(rows) for name in (row["method"], row["against"])}
    assert "1 of 5 seeds of full failed, so it is compared on the others" in found.notes


def test_every_other_method_is_said_of_all_methods_alone(study: Study) -> None:
    """Before: all of head_only failed, and another was better than every other method."""
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.95, "p_tuning_v2": 0.85, "full": 0.86})
    for run in finalist(rows, "head_only")["runs"]:
        run.update(state="FAIL", test=None, examples=None)
    found = decide(rows)
    assert (found.decision, found.every_method) == ("best", False)
    assert "every other" not in found.reason
    assert "the 2 others that could be compared" in found.reason
    assert found.provisional == ["head_only failed with every seed, so it is not in the comparison"]


def test_one_method_alone_is_not_the_best(study: Study) -> None:
    found = decide(study(accuracy={"head_only": 0.9}))
    assert (found.decision, found.method, found.could_be_best) == ("tied", "head_only", ["head_only"])


def test_one_seed_is_not_measured(study: Study) -> None:
    rows = study(seeds=1)
    found = decide(rows)
    assert found.decision == "tied"
    assert any("only 1 seed" in reason for reason in found.provisional)
    assert all(row["ci_low"] is None and row["outcome"] == "not measured" for row in comparisons(rows))


def test_without_examples_the_reason_says_so_and_nothing_is_claimed(rows: Rows) -> None:
    for each in rows["finalists"]:
        for run in each["runs"]:
            run["examples"] = None
    found = decide(rows)
    assert "new seeds only" in found.reason
    assert found.decision == "tied"
    assert {row["outcome"] for row in comparisons(rows)} <= {"not shown"}


def test_few_trials_make_a_verdict_provisional(rows: Rows) -> None:
    rows["trials"] = [trial for trial in rows["trials"] if trial["number"] < 2]
    found = decide(rows)
    assert found.provisional == [
        "head_only, prompt_tuning, p_tuning_v2 and full were searched with 2 trials each"
    ]
    assert found.mends == ["search.trials_per_method=8"]


def test_lost_trials_make_a_verdict_provisional(rows: Rows) -> None:
    """A neighbour took the memory, half of the search was missing, and the verdict named a false best method."""
    for trial in rows["trials"]:
        if trial["method"] == "full" and trial["number"] in (0, 1):
            trial.update(state="FAIL", validation=None)
    found = decide(rows)
    assert found.provisional[0] == "3 of 6 search trials of full failed, the default among them"
    assert "search.trials_per_method=9" in found.mends


def test_what_is_alike_is_said_once(rows: Rows) -> None:
    for method in ("head_only", "full"):
        finalist(rows, method)["runs"][0].update(state="FAIL", test=None, examples=None)
    assert decide(rows).notes[:2] == [
        "1 of 6 search trials of each of head_only, prompt_tuning, p_tuning_v2 and full failed",
        "1 of 5 seeds of each of head_only and full failed, so they are compared on the others",
    ]


def test_a_setting_is_given_once_with_its_largest_value(rows: Rows) -> None:
    """Before: trials_per_method=10 and then =8, of which the command took the last."""
    for trial in rows["trials"]:
        if trial["method"] == "full" and trial["number"] < 3:
            trial.update(state="FAIL", validation=None)
    found = decide(rows)
    assert "full was searched with 2 trials" in found.provisional
    assert found.mends == ["search.trials_per_method=10"]


def test_no_method_that_learned_is_the_verdict(rows: Rows) -> None:
    """Both answered one class, and one was recommended."""
    answer = [1.0] * 300 + [0.0] * 100
    score(
        rows, {name: np.array([answer] * 5) for name in ("head_only", "prompt_tuning", "p_tuning_v2", "full")}
    )
    scores = {"test": 0.75, "test_task_scores": {"topic": 0.75}, "examples": {"topic": answer}}
    rows["trivial"] = {**scores, "answers": {"topic": "always 'sport'"}}
    rows["search"] = {"max_steps": 45}
    found = decide(rows)
    assert (found.decision, found.method, found.could_be_best) == ("nothing learned", None, [])
    assert found.reason == (
        "None of the 4 tested methods is shown to have learned anything: the best of them, head_only, scores 0.750, "
        "and the trivial answer (always 'sport') scores 0.750."
    )
    assert found.mends == ["training.max_steps=90"]
    assert not any("did not learn" in note for note in found.notes)


def test_curves_that_rise_make_a_verdict_provisional(rows: Rows) -> None:
    assert decide(rows).provisional == []
    rows["search"] = {"max_steps": 45}
    for each in rows["finalists"]:
        for run in each["runs"]:
            run["curve"] = [{"step": step, "validation": 0.5 + step / 100} for step in (15, 30, 45)]
    found = decide(rows)
    assert found.provisional[0].endswith("still rises at the last step")
    assert found.mends == ["training.max_steps=90"]


@pytest.mark.parametrize(("behind", "matters"), [(0.6, False), (0.85, True)])
def test_the_best_is_provisional_where_a_method_that_rises_could_reach_it(
    study: Study, behind: float, matters: bool
) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.97, "p_tuning_v2": behind, "full": 0.6})
    rows["search"] = {"max_steps": 100}
    for each in rows["finalists"]:
        for run in each["runs"]:
            run["curve"] = [{"step": step, "validation": 0.5 + step * 0.0012} for step in (25, 50, 75, 100)]
    found = decide(rows)
    said = found.provisional if matters else found.notes
    assert found.decision == "best"
    assert bool(found.provisional) is matters
    assert any(text.endswith("still rises at the last step") for text in said)


@pytest.mark.parametrize(
    ("low", "high", "p_value", "covers", "expected"),
    [
        (-0.005, 0.008, 0.6, BOTH, "equal"), (0.002, 0.009, 0.001, BOTH, "better"), (-0.05, -0.02, 0.001, BOTH, "worse"),
        (-0.01, 0.05, 0.2, BOTH, "not shown"), (0.02, 0.05, 0.001, SEEDS, "not shown"), (None, None, None, None, "not measured"),
    ],
)  # fmt: skip
def test_outcomes(
    low: float | None, high: float | None, p_value: float | None, covers: str | None, expected: str
) -> None:
    gap = 0.0 if low is None or high is None else (low + high) / 2
    estimate = Estimate(gap, 0.01, low, high, p_value, 10.0, covers)
    assert verdict.outcome(Pair(0, 1, estimate, "any"), 0.01) == expected


def test_a_comparison_has_one_row_and_one_p(rows: Rows) -> None:
    found = comparisons(rows)
    assert len(found) == 6
    assert len({frozenset((row["method"], row["against"])) for row in found}) == 6
    assert all(row["difference"] >= 0 for row in found)
    assert [row["difference"] for row in found] == sorted((row["difference"] for row in found), reverse=True)
    one = verdict.against(contest(rows), "head_only", "full")  # type: ignore[arg-type]
    (other,) = (row for row in found if {row["method"], row["against"]} == {"head_only", "full"})
    assert one is not None
    assert one["p_value"] == other["p_value"]
    assert one["difference"] == -other["difference"]
    assert (one["outcome"], other["outcome"]) == ("worse", "better")
