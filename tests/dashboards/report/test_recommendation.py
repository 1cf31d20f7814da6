"""The sentence, the study file and the code of a recommendation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import yaml

from dashboards.report.report import build
from search.config import study_file
from tests.dashboards.studies import Rows, Study, finalist


def test_the_sentence_has_score_interval_price_and_references(rows: Rows) -> None:
    said = build(rows)["verdict"]["sentence"]
    test = build(rows)["methods"][1]["finalists"][0]["test"]
    assert said.startswith("Use prompt_tuning (learning_rate 0.01). Test accuracy")
    for expected in (
        f"{test['mean']:.3f} (95 % interval",
        "3,840 deployed parameters, 0.017 % of the model",
        "full",
    ):
        assert expected in said
    assert f"with {22713216 / 3840:,.0f} times the parameters" in said
    finalist(rows, "full")["runs"][0].update(state="FAIL", test=None)
    assert "full" not in build(rows)["verdict"]["sentence"]


def test_the_sentence_follows_the_decision(study: Study) -> None:
    alone, one_seed = study(accuracy={"head_only": 0.9}), study(seeds=1)
    said = [build(rows)["verdict"]["sentence"] for rows in (alone, one_seed)]  # type: ignore[arg-type]
    assert said[0].startswith(
        "Use head_only (learning_rate 0.01); no other method was tested. Test accuracy 0."
    )
    assert "; it is not shown to be the best. Test accuracy" in said[1]
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


def test_the_sentence_names_the_cheapest_method_that_is_not_beaten(study: Study) -> None:
    """p_tuning_v2 has the best mean; prompt_tuning is cheaper."""
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
    assert report["verdict"]["decision"] == "tied"
    assert "; it is not shown to be better than the cheaper prompt_tuning. Test accuracy" in said
    assert re.search(
        r"; prompt_tuning scores 0\.\d{3} less \(95 % interval .* to .*\) with 3,840 parameters\.$", said
    )
    assert "head_only" not in said, "which is shown to be worse"


def test_equal_scores_are_said_to_be_the_same(rows: Rows) -> None:
    """As where two methods give one constant answer."""
    for name in ("prompt_tuning", "full"):
        for run in finalist(rows, name)["runs"]:
            run["test"], run["examples"] = 0.875, {"topic": [1.0] * 350 + [0.0] * 50}
    verdict = build(rows)["verdict"]
    assert "; full scores the same with 5,915 times the parameters." in verdict["sentence"]
    assert "it scores the same" in verdict["reason"] or verdict["best"] == "prompt_tuning"
    assert "0.000 to" not in verdict["sentence"] + verdict["reason"]
