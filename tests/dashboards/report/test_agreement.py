"""Verdict, comparisons, sentences and page never disagree: over random studies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboards.findings.contest import contest
from dashboards.findings.verdict import comparisons, decide
from dashboards.report import recommendation
from dashboards.report.report import build, write
from dashboards.statistics import chosen, standing
from tests.dashboards.studies import Rows, make_rows, page_text

STUDIES, PAGES = 2000, 30
METHODS = (
    "head_only",
    "prompt_tuning",
    "p_tuning",
    "prefix_tuning",
    "p_tuning_v2",
    "prompt_pool",
    "multitask",
    "lora",
    "full",
)
KINDS = ("plain", "failed seeds", "no examples", "trivial", "constant", "equal prices", "groups", "looks")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "DRAWS", 300)
    monkeypatch.setattr(chosen, "DRAWS", 200)
    monkeypatch.setattr("dashboards.findings.stability.DRAWS", 100)


@pytest.fixture(scope="module")
def made() -> Rows:
    return make_rows()


def random_study(made: Rows, rng: np.random.Generator) -> Rows:
    """A study of 2 to 9 methods with random scores, prices and faults."""
    names = [METHODS[place] for place in rng.permutation(len(METHODS))[: rng.integers(2, 10)]]
    kinds = {kind for kind in KINDS if rng.random() < 0.2}
    seeds, size = int(rng.integers(1, 7)), int(rng.integers(20, 61))
    shared = rng.normal(size=size)
    lead = float(rng.choice([0.0, 0.3, 1.0, 3.0]))
    template = made["finalists"][0]
    finalists = []
    for place, name in enumerate(names):
        luck = rng.normal(0, rng.choice([0.01, 0.3]), (seeds, 1))
        latent = shared + 0.6 * rng.normal(size=size) + 0.6 * rng.normal(size=(seeds, size)) + luck
        hits = (latent + lead * (place == 0) > -0.8).astype(float)
        if "constant" in kinds and rng.random() < 0.5:
            hits = np.ones((seeds, size)) * (np.arange(size) < size // 2)
        runs = [_run(template["runs"][0], seed, row, kinds, rng) for seed, row in enumerate(hits)]
        price = 5000 if "equal prices" in kinds else int(rng.integers(100, 10**6))
        finalists.append(
            {**template, "method": name, "deployed_parameters": price, "head_parameters": 0, "runs": runs}
        )
    trivial = (np.arange(size) < size // 2).astype(float)
    facts: dict[str, Any] = {
        "finalists": finalists,
        "methods": [{**made["methods"][0], "method": name} for name in names],
    }
    facts["trials"] = [
        {**trial, "method": name}
        for name in names
        for trial in made["trials"]
        if trial["method"] == "head_only"
    ]
    if "trivial" in kinds:
        answers = {"topic": "always 'sport'"}
        scores = {"test": float(trivial.mean()), "test_task_scores": {"topic": float(trivial.mean())}}
        facts["trivial"] = {**scores, "examples": {"topic": trivial.tolist()}, "answers": answers}
    if "groups" in kinds:
        facts["test_groups"] = {"topic": rng.integers(0, 15, size).tolist()}
    if "looks" in kinds:
        facts["seeds"] = {"num_seeds": seeds, "max_seeds": 2 * seeds, "looks": [seeds, 2 * seeds]}
    return {**made, **facts}


def _run(
    run: dict[str, Any], seed: int, hits: np.ndarray, kinds: set[str], rng: np.random.Generator
) -> dict[str, Any]:
    test = float(hits.mean())
    made = {
        **run,
        "seed": seed,
        "test": test,
        "test_task_scores": {"topic": test},
        "examples": {"topic": hits.tolist()},
    }
    if "no examples" in kinds:
        made["examples"] = None
    if "failed seeds" in kinds and rng.random() < 0.3:
        made.update(state="FAIL", test=None, examples=None, validation=None)
    return made


def agree(verdict: dict[str, Any], table: list[dict[str, Any]], states: dict[str, str]) -> None:
    """What must hold of every study."""
    could, method, decision = verdict["could_be_best"], verdict["method"], verdict["decision"]
    compared = {name for name, state in states.items() if state == "compared"}
    named = {name for row in table for name in (row["method"], row["against"])}
    assert named <= compared
    assert set(could) <= compared
    assert (decision in ("best", "tied")) == (method is not None) == bool(could)
    assert (decision == "nothing learned") == (not compared and "did not learn" in states.values())
    if method is None:
        return
    assert method in could
    assert (decision == "best") == (len(could) == 1 and len(compared) > 1)
    pairs = {frozenset((row["method"], row["against"])): row for row in table}
    assert len(pairs) == len(table) == len(compared) * (len(compared) - 1) // 2
    beaten = {row["against"] for row in table if row["outcome"] == "better"}
    assert compared - set(could) <= beaten
    assert not set(could) & (beaten - {verdict["leader"]})
    if decision == "best":
        assert verdict["leader"] == method
        assert all(pairs[frozenset((method, other))]["outcome"] == "better" for other in compared - {method})
    for row in table:
        assert row["outcome"] != "worse", "the better one stands first"
        if row["ci_low"] is not None and row["covers"] == "seeds and examples":
            excludes = row["ci_low"] > 0 or row["ci_high"] < 0
            assert (row["outcome"] == "better") == (row["p_value"] < 0.05) == excludes, row
        else:
            assert row["outcome"] in ("not shown", "not measured")
    assert ("every other method" in verdict["reason"]) <= (compared == set(states))


def test_random_studies_agree(made: Rows) -> None:
    rng, decisions = np.random.default_rng(0), set()
    for _ in range(STUDIES):
        found = contest(random_study(made, rng))  # type: ignore[arg-type]
        verdict = decide(found)
        decisions.add(verdict.decision)
        agree(
            vars(verdict),
            comparisons(found),
            {m["method"]: found.state(m["method"]) for m in found.rows["methods"]},
        )
        if verdict.decision == "tied" and len({each.price for each in found.contenders}) < 2:
            assert "cheap" not in verdict.reason.replace("no cheaper one", "")
        said = {"sentence": recommendation.sentence(found, verdict), "every_method": found.whole}
        _sentence(vars(verdict) | said)
    assert decisions == {"best", "tied", "nothing learned", "none"}


def test_pages_of_random_studies_agree(made: Rows, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(PAGES):
        rows = random_study(made, rng)
        report = write(rows, tmp_path)  # type: ignore[arg-type]
        verdict = report["verdict"]
        states = {method["method"]: method["state"] for method in report["methods"]}
        agree(verdict, report["comparisons"], states)
        _sentence(verdict)
        page, markdown = page_text(tmp_path), (tmp_path / "report.md").read_text()
        for text in (" ".join(page.split()), " ".join(markdown.split())):
            assert " ".join(verdict["sentence"].replace("'", "&#39;").split()) in text.replace("'", "&#39;")
            for row in report["comparisons"]:
                assert text.count(row["outcome"]) >= 1
        assert build(rows)["verdict"] == verdict  # type: ignore[arg-type]


def _sentence(verdict: dict[str, Any]) -> None:
    """The first line says what the verdict is."""
    said = verdict["sentence"]
    assert said.startswith("Provisional, because") == bool(verdict["provisional"])
    if verdict["decision"] == "best":
        assert re.search(rf"[Uu]se {verdict['method']}\b", said)
        assert ": better than" in said
        assert ("every other method" in said) <= verdict["every_method"]
    elif verdict["decision"] == "tied":
        assert re.search(rf"(Take|[Uu]se) {verdict['method']}\b", said)
        assert "better than every" not in said
    else:
        assert verdict["reason"][1:] in said
