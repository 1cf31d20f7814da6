"""Each section of the report follows the rows: known answers by hand, edits that show, and what is missing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from dashboards.findings.effort import expected_best, second_half_gain
from dashboards.findings.fronts import front, knee
from dashboards.findings.pairs import outcome
from dashboards.findings.statistics import difference
from dashboards.findings.stopping import rungs
from dashboards.findings.verdict import contenders
from dashboards.findings.why import path
from dashboards.report.report import build, write
from search.config import study_file
from tests.dashboards.report.test_report import EVIL, page_text

Rows = dict[str, Any]
Study = Callable[..., Rows]


def finalist(rows: Rows, method: str) -> dict[str, Any]:
    return next(f for f in rows["finalists"] if f["method"] == method and f["chosen"])


def probe(rows: Rows, **steps: float) -> None:
    """Gives the finalists probes; the other figures follow from the seconds of a step."""
    for method, seconds in steps.items():
        finalist(rows, method)["probe"] = {
            "device": "cpu", "train_step_seconds": seconds,
            "train_seconds": 100 * seconds, "peak_memory_bytes": 1e9 - 1e8 * seconds, "latency_seconds": seconds / 10,
            "rows_per_second": 1 / seconds, "bytes": 10_000,
        }  # fmt: skip


# Verdict


def test_the_sentence_has_score_interval_price_and_references(rows: Rows) -> None:
    said = build(rows)["verdict"]["sentence"]
    test = build(rows)["methods"][1]["finalists"][0]["test"]
    assert said.startswith("Use prompt_tuning (learning_rate 0.01): test accuracy")
    for expected in (
        f"{test['mean']:.3f} (95 % interval",
        "3,840 deployed parameters, 0.017 % of the model",
        "full",
    ):
        assert expected in said
    assert f"with {22713216 / 3840:,.0f} times the parameters" in said
    finalist(rows, "full")["runs"][0].update(state="FAIL", test=None)
    assert "full not measured" in build(rows)["verdict"]["sentence"]


def test_the_sentence_follows_the_decision(study: Study) -> None:
    assert (
        "No difference is shown; the candidate is head_only"
        in build(study(accuracy={"head_only": 0.9}))["verdict"]["sentence"]
    )  # type: ignore[arg-type]
    rows = study()
    rows["finalists"] = []
    report = build(rows)  # type: ignore[arg-type]
    assert report["verdict"]["sentence"] == report["verdict"]["reason"]
    assert report["verdict"]["study_file"] is report["verdict"]["load"] is None


def test_the_study_file_is_one_method_with_fixed_values(rows: Rows, tmp_path: Path) -> None:
    rows["provenance"]["study_file"] = yaml.safe_dump(
        {
            "study": "quickstart",
            "model": {"name_or_path": "some/model"},
            "tasks": [
                {"name": name, "data": {"path": "some/set"}, "text": "text", "label": "label"}
                for name in ("topic", "other")
            ],
            "methods": {"head_only": {}, "prompt_tuning": {}},
            "search": {"trials_per_method": 30},
        }
    )
    config = {
        "learning_rate": 0.02,
        "num_virtual_tokens": 8,
        "loss_weight.topic": 0.7,
        "loss_weight.other": 0.3,
    }
    finalist(rows, "prompt_tuning")["config"] = config
    verdict = build(rows)["verdict"]
    (tmp_path / "study.yaml").write_text(verdict["study_file"])
    loaded = study_file.load(tmp_path / "study.yaml")
    assert loaded.study == "quickstart-prompt_tuning"
    assert list(loaded.methods) == ["prompt_tuning"]
    assert loaded.search.trials_per_method == 1
    assert [task.loss_weight for task in loaded.tasks] == [0.7, 0.3]
    assert yaml.safe_load(verdict["study_file"])["methods"] == {
        "prompt_tuning": {"learning_rate": 0.02, "num_virtual_tokens": 8}
    }
    compile(verdict["load"], "load", "exec")


def test_a_damaged_study_file_gives_none(rows: Rows) -> None:
    for text in ("a: [", "just words", None):
        rows["provenance"]["study_file"] = text
        assert build(rows)["verdict"]["study_file"] is None


def test_without_a_winner_the_sentence_ends_with_what_the_cheaper_method_costs(study: Study) -> None:
    """By its mean p_tuning_v2 is best by far more than epsilon, and not shown to be better than the two cheaper ones."""
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.87, "p_tuning_v2": 0.9, "full": 0.6})
    rng = np.random.default_rng(0)
    for name in ("prompt_tuning", "p_tuning_v2"):  # seeds that differ more than the methods
        for run, shift in zip(finalist(rows, name)["runs"], (-0.1, -0.05, 0.0, 0.05, 0.1), strict=True):
            table = (
                rng.random(len(run["examples"]["topic"])) < (0.87 if name == "prompt_tuning" else 0.9) + shift
            )
            run["examples"]["topic"] = table.astype(float).tolist()
            run["test"] = float(table.mean())
    report = build(rows)  # type: ignore[arg-type]
    said = report["verdict"]["sentence"]
    assert report["verdict"]["decision"] == "no difference"
    assert said.startswith(
        "No difference is shown between p_tuning_v2 and the cheaper prompt_tuning; the candidate is"
    )
    assert re.search(
        r"with 3,840 parameters, and is the cheapest that is not shown to be worse \(Holm-corrected p = [\d.]+\)\.$",
        said,
    )
    assert "head_only" not in said, "which is shown to be worse"


# If you value ...


def test_what_is_within_epsilon_is_so_by_its_mean(study: Study) -> None:
    """As for the other wishes; the verdict asks for an interval."""
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.893, "p_tuning_v2": 0.9, "full": 0.6})
    report = build(rows)  # type: ignore[arg-type]
    means = {m["method"]: f["test"]["mean"] for m in report["methods"] for f in m["finalists"] if f["test"]}
    near = [name for name, mean in means.items() if mean >= max(means.values()) - rows["epsilon"]]
    (wish,) = (row for row in report["preferences"] if row["value"] == "smallest within epsilon")
    assert near == ["prompt_tuning", "p_tuning_v2"], "from cheap to dear"
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
    assert wish["fastest to train"]["note"] == "not probed: head_only, prompt_tuning, p_tuning_v2"


# Pareto


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


def test_costs_of_the_probe_have_fronts(rows: Rows, tmp_path: Path) -> None:
    fronts = {entry["axis"]: entry for entry in write(rows, tmp_path)["fronts"]}
    assert fronts["latency"]["front"] == []
    assert "Not measured: training time, memory, latency, size" in page_text(tmp_path)
    probe(rows, head_only=0.1, prompt_tuning=0.4, p_tuning_v2=0.3, full=0.9)
    fronts = {entry["axis"]: entry for entry in write(rows, tmp_path)["fronts"]}
    assert [p["method"] for p in fronts["latency"]["front"]] == ["head_only", "p_tuning_v2", "full"]
    assert (tmp_path / "report.html").read_text().count('id="front-') == 6


# Pairs


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (-0.005, 0.008, 0.6, "tie"), (0.002, 0.009, 0.001, "tie"), (0.02, 0.05, 0.001, "better"),
        (-0.05, -0.02, 0.001, "worse"), (-0.01, 0.05, 0.2, "not shown"), (None, None, None, "not measured"),
    ],
)  # fmt: skip
def test_outcomes(low: float | None, high: float | None, p: float | None, expected: str) -> None:
    gap = 0.0 if low is None or high is None else (low + high) / 2
    row = {"difference": gap, "ci_low": low, "ci_high": high, "p_value": p, "p_holm": p}
    assert outcome(row, 0.01) == expected


def test_pairs_are_against_the_candidate_and_head_only(rows: Rows) -> None:
    found = {(row["family"], row["method"], row["against"]): row for row in build(rows)["pairs"]}
    assert len(found) == 6
    gain = found["head_only", "full", "head_only"]
    assert gain["outcome"] == "better"
    assert gain["ci_low"] < gain["difference"] < gain["ci_high"]
    assert found["recommended", "prompt_tuning", "p_tuning_v2"]["outcome"] == "tie"
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


# Was the search enough?


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


def test_rungs_tell_who_was_stopped_and_what_a_rung_is_worth() -> None:
    ends = [(0.4, 0.5), (0.6, 0.9), (0.5, 0.6), (0.3, 0.7)]
    trials = [curve(i, "COMPLETE", *end) for i, end in enumerate(ends)]
    trials += [curve(4, "PRUNED", 0.65), curve(5, "PRUNED", 0.1)]
    (rung,) = rungs(trials, best=1)  # type: ignore[arg-type]
    assert (rung["step"], rung["reached"], rung["stopped"]) == (10, 6, 2)
    assert (rung["best_rank"], rung["stopped_ahead"]) == (2, 1)
    assert rung["correlation"] == pytest.approx(stats.spearmanr(*zip(*ends, strict=True)).statistic)
    assert rungs(trials[:4], best=1) == []  # type: ignore[arg-type]
    assert rungs([*trials[:3], trials[4]], best=1)[0]["correlation"] is None  # type: ignore[arg-type]


def test_saved_steps_follow_the_settings(rows: Rows, tmp_path: Path) -> None:
    assert build(rows)["search"]["steps_saved"] == 8 * 30
    rows["search"] = {
        "sampler": "tpe", "early_stopping": True, "eta": 3, "max_steps": 50, "eval_steps": 15, "trials_per_method": 6,
    }  # fmt: skip
    assert write(rows, tmp_path)["search"]["steps_saved"] == 8 * 35 + 12 * 5
    assert "keeps the top 1/3 of a rung" in page_text(tmp_path)


def test_more_trials_are_worth_it_while_the_expectation_rises(rows: Rows) -> None:
    assert build(rows)["methods"][1]["more_trials"] is True
    rows["epsilon"] = 0.5
    assert build(rows)["methods"][1]["more_trials"] is False


# Why


def test_the_path_leads_from_the_default_to_the_best(rows: Rows, tmp_path: Path) -> None:
    steps = path([t for t in rows["trials"] if t["method"] == "prompt_tuning"])
    assert [step["number"] for step in steps] == [0, 1, 3]
    assert [step["gain"] for step in steps] == [None, pytest.approx(0.012), pytest.approx(0.024)]
    names = {change["parameter"]: (change["before"], change["after"]) for change in steps[2]["changed"]}
    assert names == {"learning_rate": (0.004, 0.01), "num_virtual_tokens": (6, 10)}
    rows["methods"][1]["importances"] = {"num_virtual_tokens": 0.77, "learning_rate": 0.23}
    assert write(rows, tmp_path)["methods"][1]["importances"]["num_virtual_tokens"] == 0.77
    assert "num_virtual_tokens 77 %" in " ".join(page_text(tmp_path).split())


def test_the_gain_over_the_default_is_on_fresh_seeds(rows: Rows) -> None:
    assert build(rows)["methods"][2]["default_gain"] is None
    rows["finalists"][-1]["role"] = "default"
    assert build(rows)["methods"][2]["default_gain"] == pytest.approx(0.01)


# Text from elsewhere


def test_new_places_escape_what_they_show(rows: Rows, tmp_path: Path) -> None:
    probe(rows, head_only=0.1, prompt_tuning=0.4, p_tuning_v2=0.3, full=0.9)
    for each in rows["finalists"]:
        if each.get("probe"):
            each["probe"]["device"] = EVIL
    rows["provenance"]["study_file"] = yaml.safe_dump({"study": EVIL, "methods": {}, EVIL: EVIL})
    rows["methods"][1]["importances"] = {EVIL: 1.0}
    rows["tasks"].append({**rows["tasks"][0], "name": EVIL, "metric": EVIL})
    for number, trial in enumerate(rows["trials"]):
        trial["params"][EVIL] = f"{EVIL}{number % 2}"
    rows["backbone"]["name"] = EVIL
    for row in (*rows["trials"], *rows["finalists"], *rows["methods"]):
        row["method"] = EVIL if row["method"] == "full" else row["method"]
    write(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<script>") == html.count("</script>") == 1
    assert "<img" not in html
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in "".join(markdown.split("```")[::2])
