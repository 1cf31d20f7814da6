"""The playbook's two guides, filled from rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboards.findings import guides
from dashboards.findings.contest import contest
from dashboards.report.report import write
from tests.dashboards.studies import Rows, Study, finalist, probe


def rename(rows: Rows, **names: str) -> None:
    """Gives methods other names."""
    for each in (*rows["methods"], *rows["finalists"], *rows["trials"]):
        each["method"] = names.get(each["method"], each["method"])


def decisions(rows: Rows) -> dict[str, dict[str, Any]]:
    return {row["advice"]: row for row in guides.decisions(contest(rows))}  # type: ignore[arg-type]


def test_the_guides_are_filled_from_the_rows(rows: Rows, tmp_path: Path) -> None:
    probe(rows, prompt_tuning=0.4)
    report = write(rows, tmp_path)["playbook"]
    guide = {row["method"]: row for row in report["guide"]}
    assert guide["prompt_tuning"]["step_seconds"] == pytest.approx(0.4)
    assert guide["full"]["step_seconds"] is None
    assert [row["pool"] for row in report["guide"]] == [False] * 4
    finalist(rows, "prompt_tuning")["config"] |= {"pool_size": 10}
    page = (tmp_path / "report.html").read_text().partition('id="guide"')[2].partition("</table>")[0]
    assert page.count("no pool") == 4
    assert page.count("–") == 3, "the steps of three methods were not measured"
    again = {row["method"]: row for row in write(rows, tmp_path)["playbook"]["guide"]}
    assert (again["prompt_tuning"]["pool"], again["prompt_tuning"]["pool_used"]) == (True, None)
    assert guide["prompt_tuning"]["gain"] == pytest.approx(
        np.mean([run["test"] for run in finalist(rows, "prompt_tuning")["runs"]])
        - np.mean([run["test"] for run in finalist(rows, "head_only")["runs"]])
    )
    assert (guide["full"]["tasks_good"], guide["head_only"]["tasks_good"]) == (1, 0)


def test_untrained_methods_stay_in_the_comparison_table(study: Study) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.6, "p_tuning_v2": 0.9})
    rows["trivial"] = {
        "test": 0.6, "test_task_scores": {"topic": 0.6}, "answers": {"topic": "the most frequent label"},
        "examples": {"topic": np.mean(finalist(rows, "prompt_tuning")["runs"][0]["examples"]["topic"], axis=0, keepdims=True).repeat(400).tolist()},
    }  # fmt: skip
    found = contest(rows)  # type: ignore[arg-type]
    assert [each.method for each in found.unlearned] == ["head_only", "prompt_tuning"]
    table = {row["method"]: row for row in guides.guide(found)}
    assert (table["prompt_tuning"]["tasks_good"], table["p_tuning_v2"]["tasks_good"]) == (0, 1)
    assert table["p_tuning_v2"]["gain"] == pytest.approx(0.3, abs=0.02), "over head_only, which did not learn"
    assert {row["answer"] for row in guides.decisions(found)} == {"not measured"}, "one method is left"


def test_few_parameters_need_intervals(study: Study) -> None:
    """p_tuning is the cheapest within epsilon of the best, or it is not: both are claims about scores."""
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.9, "p_tuning_v2": 0.9})
    rename(rows, prompt_tuning="p_tuning")
    few = decisions(rows)["p_tuning"]
    assert (few["measured"], few["answer"]) == ("p_tuning", "holds")
    assert few["figure"].startswith("p_tuning 5,765 parameters with heads (p ")
    assert decisions(rows)["multitask"]["answer"] == "not measured"
    rows["epsilon"] = 0.001
    few = decisions(rows)["p_tuning"]
    assert (few["measured"], few["answer"]) == ("p_tuning", "not shown"), "within epsilon by the means alone"
    rows["epsilon"] = 0.01
    finalist(rows, "p_tuning")["deployed_parameters"] = 99_999
    few = decisions(rows)["p_tuning"]
    assert (few["measured"], few["answer"]) == ("p_tuning_v2", "does not hold"), "a cheaper one is as good"
    finalist(rows, "p_tuning_v2")["head_parameters"] = 99_999
    assert decisions(rows)["p_tuning"]["answer"] == "holds", "heads count"
    finalist(rows, "p_tuning_v2")["deployed_parameters"] = None
    assert decisions(rows)["p_tuning"]["answer"] == "not shown", "a price is not known"


def test_few_parameters_that_lose_too_much(study: Study) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.7, "p_tuning_v2": 0.9})
    rename(rows, prompt_tuning="p_tuning")
    few = decisions(rows)["p_tuning"]
    assert (few["measured"], few["answer"]) == ("p_tuning_v2", "does not hold")
    assert few["figure"].startswith(
        "p_tuning_v2 48,005 parameters with heads, p_tuning 5,765 parameters with heads, which is not within"
    )


@pytest.mark.parametrize(
    ("multitask", "pool", "worst", "mean"),
    [
        (0.95, 0.7, "holds", "does not hold"),
        (0.7, 0.95, "does not hold", "holds"),
        (0.9, 0.9, "not shown", "not shown"),
    ],
)
def test_decisions_about_scores_need_a_difference(
    study: Study, multitask: float, pool: float, worst: str, mean: str
) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": multitask, "p_tuning_v2": pool})
    rename(rows, prompt_tuning="multitask", p_tuning_v2="prompt_pool")
    rows["tasks"].append({**rows["tasks"][0], "name": "other"})
    for each in rows["finalists"]:
        for run in each["runs"]:
            if run["test"] is not None:
                run["test_task_scores"]["other"] = run["test"] - 0.1
                run["examples"]["other"] = run["examples"]["topic"]
    assert decisions(rows)["multitask"]["answer"] == worst
    assert decisions(rows)["prompt_pool"]["answer"] == mean
    assert decisions(rows)["p_tuning"]["answer"] == "not measured"
