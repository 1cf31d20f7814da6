"""The sentence, the study file and the code of a recommendation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import yaml

from dashboards.report.report import build
from search.config import study_file
from tests.dashboards.studies import Rows, Study, finalist


def test_a_tie_ends_in_one_name_and_what_it_may_lose(rows: Rows) -> None:
    verdict = build(rows)["verdict"]
    said = verdict["sentence"]
    assert re.fullmatch(
        r"No method is clearly the best: 0\.87\d to 0\.87\d\. Take prompt_tuning \(learning_rate 0\.01\), the cheapest; "
        r"it loses at most 0\.0\d\d to full \(95 %\)\.",
        said,
    ), said
    for expected in (
        "Test accuracy 0.87",
        "(95 % interval",
        "It deploys 3,840 parameters and heads of 1,925",
    ):
        assert expected in verdict["evidence"]
    assert "resampled searches" in verdict["evidence"]
    assert "as tuned here, with 6 trials each" in verdict["evidence"]


def test_the_best_is_said_in_one_sentence(study: Study) -> None:
    rows = study(accuracy={"head_only": 0.6, "prompt_tuning": 0.95, "p_tuning_v2": 0.85, "full": 0.86})
    verdict = build(rows)["verdict"]  # type: ignore[arg-type]
    said = "Use prompt_tuning (learning_rate 0.01): better than every other method (p < 0.001), the nearest by 0.1"
    assert re.fullmatch(rf"{re.escape(said)}\d\d\.", verdict["sentence"]), verdict["sentence"]
    assert verdict["headline"] == "best"
    assert verdict["next"] == []


def test_provisional_stands_first_with_what_mends_it(rows: Rows) -> None:
    rows["trials"] = [trial for trial in rows["trials"] if trial["number"] < 2]
    rows["provenance"]["command"] = "promptfront launch my/study.yaml --seed 3"
    verdict = build(rows)["verdict"]
    assert verdict["sentence"].startswith(
        "Provisional, because head_only, prompt_tuning, p_tuning_v2 and full were searched with 2 trials each: no method"
    )
    assert (
        verdict["next"][0]["command"] == "promptfront launch my/study.yaml --set search.trials_per_method=8"
    )


def test_settings_of_the_trials_make_another_study(rows: Rows) -> None:
    """They are part of a study's identity, so the command names another study."""
    rows["search"] = {"max_steps": 45, "trials_per_method": 6, "sampler": "tpe"}
    for each in rows["finalists"]:
        for run in each["runs"]:
            run["curve"] = [{"step": step, "validation": 0.5 + step / 100} for step in (15, 30, 45)]
    command = build(rows)["verdict"]["next"][0]["command"]
    assert command.endswith("--set training.max_steps=90 --set study=quickstart-2")


def test_of_two_methods_one_is_better_than_the_other(study: Study) -> None:
    rows = study(accuracy={"head_only": 0.6, "full": 0.9})
    rows["methods"] = [m for m in rows["methods"] if m["method"] in ("head_only", "full")]
    verdict = build(rows)["verdict"]  # type: ignore[arg-type]
    assert re.search(r": better than head_only by 0\.3\d+ \(p < 0\.001\)\.$", verdict["sentence"])
    assert "full is better than head_only: it scores 0.3" in verdict["reason"]


def test_equal_methods_are_not_to_be_told_apart(study: Study) -> None:
    """That they are equal is the answer."""
    rows = study(accuracy={"prompt_tuning": 0.9, "full": 0.9})
    rows["epsilon"] = 0.1
    verdict = build(rows)["verdict"]  # type: ignore[arg-type]
    assert "are equal within 0.1" in verdict["reason"]
    assert not any("apart" in step["why"] for step in verdict["next"])


def test_the_sentence_of_one_method_or_none(study: Study) -> None:
    alone = build(study(accuracy={"head_only": 0.9}))["verdict"]  # type: ignore[arg-type]
    assert "Only head_only was tested, so there is nothing to compare it with" in alone["sentence"]
    rows = study()
    rows["finalists"] = []
    report = build(rows)  # type: ignore[arg-type]
    assert report["verdict"]["sentence"] == report["verdict"]["reason"]
    assert report["verdict"]["study_file"] is report["verdict"]["load"] is None


def test_more_seeds_are_advised_where_they_decide(study: Study) -> None:
    """Two methods whose seeds differ more than they do."""
    rows = study(accuracy={"prompt_tuning": 0.8, "full": 0.8})
    rows["methods"] = [m for m in rows["methods"] if m["method"] in ("prompt_tuning", "full")]
    hard = np.random.default_rng(3).random(4000)
    for name, level in (("prompt_tuning", 0.80), ("full", 0.83)):
        for run, shift in zip(finalist(rows, name)["runs"], (-0.04, -0.02, 0.0, 0.02, 0.04), strict=True):
            table = (hard < level + shift).astype(float)
            run.update(test=float(table.mean()), examples={"topic": table.tolist()})
    (step,) = build(rows)["verdict"]["next"]  # type: ignore[arg-type]
    assert re.fullmatch(r"To tell full and prompt_tuning apart \(about \d+ min of training\)", step["why"]), (
        step
    )
    assert re.search(r"finalists\.max_seeds=\d+$", step["command"]), step


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


def test_equal_scores_are_said_to_be_the_same(rows: Rows) -> None:
    """As where two methods give one constant answer."""
    for name in ("prompt_tuning", "full"):
        for run in finalist(rows, name)["runs"]:
            run["test"], run["examples"] = 0.875, {"topic": [1.0] * 350 + [0.0] * 50}
    verdict = build(rows)["verdict"]
    assert verdict["method"] == "prompt_tuning"
    assert "0.000 to" not in verdict["sentence"] + verdict["reason"]
