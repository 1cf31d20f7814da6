"""The model card of an exported method."""

from __future__ import annotations

import yaml

from dashboards.report import page
from dashboards.report.report import build
from tests.dashboards.studies import Rows

EXPORTED = {
    "method": "p_tuning_v2", "config": {"learning_rate": 0.01, "readout": "model"}, "trial": "p_tuning_v2-final-001",
    "seed": 7, "validation": 0.91, "trained_parameters": 46080, "deployed_parameters": 46080, "head_parameters": 770,
    "file_parameters": 46850, "peft": {"topic": None}, "peft_parameters": {"topic": 46850},
}  # fmt: skip


def test_a_model_card_has_scores_counts_and_origin(rows: Rows) -> None:
    report = build(rows)
    card = page.card(report, EXPORTED, "my model")
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "peft"
    (method,) = (m for m in report["methods"] if m["method"] == "p_tuning_v2")
    (finalist,) = (f for f in method["finalists"] if f["chosen"])
    for expected in (
        f"{finalist['test']['mean']:.3f}", "95 % interval", "trained 46,080, deployed 46,080, heads 770",
        "seed 7", "f00d" * 16, "readout: model", 'methods.load("my model")', "abc123",
    ):  # fmt: skip
        assert expected in body


def test_a_model_card_says_what_peft_cannot(rows: Rows) -> None:
    exported = {**EXPORTED, "peft": {"topic": "train with readout: model"}, "peft_parameters": {}}
    card = page.card(build(rows), exported, "folder")
    assert yaml.safe_load(card.split("---\n")[1])["library_name"] == "promptfront"
    assert "Plain peft cannot load it (topic): train with readout: model" in card
    rows["finalists"] = []
    assert "| test score | not measured |" in page.card(build(rows), exported, "folder")
