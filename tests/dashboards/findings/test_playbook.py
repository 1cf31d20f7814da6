"""The playbook's claims, held against rows."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from dashboards.findings import playbook
from dashboards.findings.contest import contest
from dashboards.report.report import write
from search.config.study_config import SearchConfig
from search.strategy.sampling import Proposals
from tests.dashboards.studies import Rows, Study, finalist, page_text, probe, table


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
    assert "measured once" in claim(rows, "41 %")["measurement"], "a ratio of two probes has no error"
    probe(rows, prompt_tuning=0.9)
    assert claim(rows, "41 %")["answer"] == "does not hold"
    finalist(rows, "prompt_tuning")["probe"]["device"] = "gpu"
    assert claim(rows, "41 %")["answer"] == "not measured"


@pytest.mark.parametrize(
    ("deep", "shallow", "epsilon", "expected"),
    [
        (0.95, 0.7, 0.01, "holds"),
        (0.7, 0.95, 0.01, "does not hold"),
        (0.9, 0.9, 0.01, "does not hold"),
        (0.9, 0.9, 0.001, "not shown"),
    ],
)
def test_deep_against_input(study: Study, deep: float, shallow: float, epsilon: float, expected: str) -> None:
    """Equal is what is shown to be within epsilon."""
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": shallow, "p_tuning_v2": deep})
    rows["epsilon"] = epsilon
    assert claim(rows, "every layer")["answer"] == expected
    assert "corrected for all claims" in claim(rows, "every layer")["measurement"]


def test_deep_against_input_knows_that_another_search_ends_elsewhere(study: Study) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.85, "p_tuning_v2": 0.9})
    assert claim(rows, "every layer")["answer"] == "holds"
    for method, other in (("prompt_tuning", 0.8), ("p_tuning_v2", 0.95), ("head_only", 0.5)):
        again = copy.deepcopy(finalist(rows, method)) | {"chosen": False, "role": "runner_up"}
        scores = table(other, len(again["runs"]))
        for run, row in zip(again["runs"], scores, strict=True):
            run["test"], run["examples"] = float(np.mean(row)), {"topic": row}
        rows["finalists"] = [f for f in rows["finalists"] if f["chosen"] or f["method"] != method] + [again]
    assert claim(rows, "every layer")["answer"] == "not shown"


def test_one_seed_shows_nothing(study: Study) -> None:
    rows = study(seeds=1, accuracy={"prompt_tuning": 0.7, "p_tuning_v2": 0.95})
    assert claim(rows, "every layer")["answer"] == "not shown"


def place(rows: Rows, places: list[str], gain: dict[str, float], sampler: str = "random") -> None:
    """Twelve trials of prompt_tuning for each place, better by `gain`; the first of them is the default."""
    rows["search"] = {"sampler": sampler, "trials_per_method": 12 * len(places)}
    mine = next(t for t in rows["trials"] if t["method"] == "prompt_tuning")
    rows["trials"] = [
        {**mine, "number": number, "state": "PRUNED" if number % 5 == 0 else "COMPLETE", "config": {"placement": at},
         "validation": 0.7 + gain.get(at, 0.0) + 0.001 * (7 * number % 12)}
        for number, at in enumerate(places * 12)
    ]  # fmt: skip


def test_placement_compares_trials(rows: Rows) -> None:
    words = "In front"
    assert claim(rows, words)["answer"] == "not measured"
    place(rows, ["before", "after"], {"before": 0.1})
    assert claim(rows, words)["answer"] == "holds"
    assert "11 in front: above 12 after in 100 % of pairs" in claim(rows, words)["measurement"], (
        "all but the default"
    )
    place(rows, ["before", "after"], {"after": 0.1})
    assert claim(rows, words)["answer"] == "does not hold"
    place(rows, ["before", "after"], {})
    assert claim(rows, words)["answer"] == "not shown", "ranks that overlap"


def test_the_best_place_is_better_than_each_other(rows: Rows) -> None:
    place(rows, ["before", "after", "around"], {"before": 0.1, "around": 0.1})
    assert claim(rows, "In front")["answer"] == "not shown"
    place(rows, ["before", "after", "around"], {"before": 0.1, "around": 0.2})
    assert claim(rows, "In front")["answer"] == "does not hold"


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_places_that_were_not_drawn_blindly_show_nothing(rows: Rows, sampler: str) -> None:
    place(rows, ["before", "after"], {"before": 0.1}, sampler)
    if sampler == "tpe":
        assert "3 in front: above 4 after" in claim(rows, "In front")["measurement"], (
            "8 of 24 start the search"
        )
    else:
        assert "without a look" in claim(rows, "In front")["measurement"]
    assert claim(rows, "In front")["answer"] == "not shown"
    place(rows, ["before", "after"], {"before": 0.1})
    for trial in rows["trials"][:20]:
        trial["origin"] = "earlier/prompt_tuning:3"
    assert "2 in front: above 2 after" in claim(rows, "In front")["measurement"]
    del rows["search"]
    assert claim(rows, "In front")["answer"] == "not shown", "it is not known how they were drawn"


def test_a_place_counts_where_it_has_an_effect(rows: Rows) -> None:
    place(rows, ["before", "after"], {"before": 0.1})
    (method,) = (m for m in rows["methods"] if m["method"] == "prompt_tuning")
    method["where"] = {"placement": {"site": "input"}}
    assert claim(rows, "In front")["answer"] == "not measured"
    for trial in rows["trials"]:
        trial["config"]["site"] = "input"
    assert claim(rows, "In front")["answer"] == "holds"


@pytest.mark.parametrize(
    ("sampler", "start"),
    [("tpe", "n_startup_trials"), ("gp", "n_startup_trials"), ("nsga2", "population_size")],
)
@pytest.mark.parametrize("budget", [6, 30, 400])
def test_searches_start_with_so_many_random_trials(rows: Rows, sampler: str, start: str, budget: int) -> None:
    search = SearchConfig.model_validate({"sampler": sampler, "trials_per_method": budget})
    made = Proposals(search, {}, ["maximize"], {}, dict, lambda *_: 0)._sampler(0)  # type: ignore[arg-type]
    rows["search"] = {"sampler": sampler, "trials_per_method": budget}
    blind = [n for n in range(budget) if playbook._blind(rows, {"number": n})]  # type: ignore[arg-type, typeddict-item]
    assert blind == list(range(1, getattr(made, f"_{start}")))


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
