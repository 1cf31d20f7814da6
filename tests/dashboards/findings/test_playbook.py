"""The playbook's claims and guides, filled from rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dashboards.findings import guides, playbook
from dashboards.findings.contest import contest
from dashboards.report.report import write
from dashboards.statistics import standing
from tests.dashboards.studies import Rows, Study, finalist, page_text, probe


def rename(rows: Rows, **names: str) -> None:
    """Gives methods other names everywhere."""
    for each in (*rows["methods"], *rows["trials"], *rows["finalists"]):
        each["method"] = names.get(each["method"], each["method"])


def claim(rows: Rows, words: str) -> dict[str, str]:
    return next(row for row in playbook.claims(contest(rows)) if words in row["claim"])  # type: ignore[arg-type]


def test_the_share_of_distilbert(rows: Rows) -> None:
    words = "DistilBERT"
    assert claim(rows, words)["answer"] == "not measured"
    mine = finalist(rows, "p_tuning_v2")
    mine.update(method="prefix_tuning", deployed_parameters=23040, config={"num_virtual_tokens": 5})
    assert "not DistilBERT" in claim(rows, words)["measurement"]
    rows["backbone"].update(name="distilbert-base-uncased", parameters=66_955_010)
    assert claim(rows, words)["answer"] == "holds"
    assert "0.069 %" in claim(rows, words)["measurement"]
    mine["deployed_parameters"] = 92160
    assert claim(rows, words)["answer"] == "does not hold"


def test_the_ratio_of_steps(rows: Rows) -> None:
    finalist(rows, "p_tuning_v2")["method"] = "prefix_tuning"
    assert claim(rows, "41 %")["answer"] == "not measured"
    probe(rows, prompt_tuning=0.4, prefix_tuning=1.0)
    assert (claim(rows, "41 %")["answer"], "40 %" in claim(rows, "41 %")["measurement"]) == ("holds", True)
    probe(rows, prompt_tuning=0.9)
    assert claim(rows, "41 %")["answer"] == "does not hold"
    finalist(rows, "prompt_tuning")["probe"]["device"] = "gpu"
    assert claim(rows, "41 %")["answer"] == "not measured"


@pytest.mark.parametrize(
    ("deep", "shallow", "expected"),
    [(0.95, 0.7, "holds"), (0.7, 0.95, "does not hold"), (0.9, 0.9, "does not hold")],
)
def test_deep_against_input(study: Study, deep: float, shallow: float, expected: str) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": shallow, "p_tuning_v2": deep})
    assert claim(rows, "every layer")["answer"] == expected


def test_placement_compares_trials_that_were_drawn_blindly(rows: Rows) -> None:
    words = "In front"
    assert claim(rows, words)["answer"] == "not measured"
    mine = [t for t in rows["trials"] if t["method"] == "prompt_tuning"]
    mine += [{**mine[0], "config": dict(mine[0]["config"]), "number": number} for number in range(6, 13)]
    rows["trials"] = mine
    for number, trial in enumerate(mine):
        front = number % 2 == 0
        trial["config"]["placement"] = "before" if front else "after"
        trial.update(state="COMPLETE", validation=(0.9 if front else 0.7) + 0.001 * number)
    assert claim(rows, words)["answer"] == "holds"
    assert "6 before, 6 elsewhere" in claim(rows, words)["measurement"], "the default was not drawn"
    for trial in mine:
        trial["config"]["placement"] = "after" if trial["config"]["placement"] == "before" else "before"
    assert claim(rows, words)["answer"] == "does not hold"
    rows["search"] = {"sampler": "tpe", "trials_per_method": 13}
    assert claim(rows, words)["answer"] == "not measured", "TPE draws three trials blindly, and looks then"


@pytest.mark.parametrize("kind", ["normal", "heavy", "collapsed"])
def test_a_place_that_makes_no_difference_is_seldom_claimed(kind: str) -> None:
    """Welch's t claimed one in 3 to 17 % of studies."""
    rng, claims, rounds = np.random.default_rng(0), 0, 300
    for _ in range(rounds):
        strata = []
        for _ in range(int(rng.integers(1, 4))):
            count = int(rng.integers(6, 20))
            scores = rng.standard_t(2, count) if kind == "heavy" else rng.normal(size=count)
            scores = scores - 20 * (rng.random(count) < 0.2) if kind == "collapsed" else scores
            front = rng.permutation(count) < int(rng.integers(2, count - 1))
            strata.append((scores[front].tolist(), scores[~front].tolist()))
        claims += playbook.rank_test(strata)[1] < 0.05
    assert claims / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5


def test_where_nothing_is_true_a_report_seldom_claims_it(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five equal prompts: less than 5 % of reports have a claim about scores, and two standard errors."""
    monkeypatch.setattr(standing, "DRAWS", 2000)
    names = ("prompt_tuning", "p_tuning", "prefix_tuning", "p_tuning_v2", "prompt_pool")
    kept = finalist(rows, "p_tuning_v2")
    rows["methods"] = [{**rows["methods"][1], "method": name} for name in names]
    rng, claims, rounds = np.random.default_rng(1), 0, 150
    for _ in range(rounds):
        shared = rng.normal(size=100)
        rows["finalists"] = []
        for name in names:
            own, luck = rng.normal(size=100), rng.normal(0, 0.15, 5)
            tables = (shared + 0.6 * own + 0.6 * rng.normal(size=(5, 100)) + luck[:, None] > -0.8).astype(
                float
            )
            runs = [
                {
                    **run,
                    "test": float(row.mean()),
                    "examples": {"topic": row.tolist()},
                    "validation": rng.random(),
                }
                for run, row in zip(kept["runs"], tables, strict=True)
            ]
            rows["finalists"].append({**kept, "method": name, "runs": runs})
        found = contest(rows)  # type: ignore[arg-type]
        answers = [row["answer"] for row in playbook.claims(found) if "every layer" in row["claim"]]
        answers += [row["answer"] for row in guides.decisions(found)]
        claims += bool({"holds", "does not hold"} & set(answers))
    assert claims / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5


def test_the_pool_adapts_if_rows_take_different_prompts(rows: Rows) -> None:
    mine = finalist(rows, "p_tuning_v2")
    mine.update(method="prompt_pool", config={"pool_size": 10, "top_k": 2, "selection": "top_k"})
    assert claim(rows, "adapts")["answer"] == "not measured"
    for run in mine["runs"]:
        run["metrics"] = {"pool_used": 0.8}
    assert claim(rows, "adapts")["answer"] == "holds"
    for run in mine["runs"]:
        run["metrics"] = {"pool_used": 0.2}
    assert claim(rows, "adapts")["answer"] == "does not hold"
    mine["config"]["selection"] = "mix"
    assert claim(rows, "adapts")["answer"] == "not measured"


def test_sharing_needs_several_tasks(rows: Rows) -> None:
    words = "share costs"
    pool, shared = finalist(rows, "p_tuning_v2"), finalist(rows, "prompt_tuning")
    pool.update(method="prompt_pool", deployed_parameters=40_000)
    shared.update(method="multitask", deployed_parameters=20_000)
    for each in (pool, shared):
        each["config"] = {"pool_size": 10, "num_virtual_tokens": 5}
    assert claim(rows, words)["answer"] == "not measured"
    rows["tasks"].append({**rows["tasks"][0], "name": "other"})
    assert claim(rows, words)["answer"] == "holds"
    shared["deployed_parameters"] = 50_000
    assert claim(rows, words)["answer"] == "does not hold"


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
    rename(rows, prompt_tuning="p_tuning")
    decisions = {row["situation"]: row for row in guides.decisions(contest(rows))}  # type: ignore[arg-type]
    few = decisions["one task, few parameters"]
    assert (few["measured"], few["answer"]) == ("p_tuning", "holds")
    assert "5,765 parameters" in few["figure"], "heads are counted"
    assert decisions["several tasks, high flexibility"]["answer"] == "not measured"
    finalist(rows, "p_tuning")["deployed_parameters"] = 99_999
    few = guides.decisions(contest(rows))[2]  # type: ignore[arg-type]
    assert (few["measured"], few["answer"]) == ("p_tuning_v2", "not shown"), "both are within epsilon"


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
    decisions = {row["situation"]: row for row in guides.decisions(contest(rows))}  # type: ignore[arg-type]
    assert decisions["several tasks, high flexibility"]["answer"] == worst
    assert decisions["several tasks, moderate flexibility"]["answer"] == mean
    assert decisions["one task, few parameters"]["answer"] == "not measured"


def test_an_empty_study_measures_nothing(rows: Rows, tmp_path: Path) -> None:
    rows.update(trials=[], finalists=[])
    report = write(rows, tmp_path)
    assert {row["answer"] for row in report["playbook"]["claims"]} == {"not measured"}
    assert {row["answer"] for row in report["playbook"]["decisions"]} == {"not measured"}
    assert report["comparisons"] == []
    assert all(entry["front"] == [] and entry["knee"] is None for entry in report["fronts"])


def test_what_trials_took_is_shown_where_it_was_recorded(rows: Rows, tmp_path: Path) -> None:
    write(rows, tmp_path)
    assert "shared the machine: they" not in page_text(tmp_path)
    rows["trials"][0].update(step_seconds=0.321, peak_memory_bytes=2.5e9)
    write(rows, tmp_path)
    text = page_text(tmp_path)
    assert "shared the machine: they" in text
    assert "321 ms" in text
    assert "2.5 GB" in text
    assert "0.321,2500000000.0" in (tmp_path / "trials.csv").read_text()
