"""The commented study file that `promptfront init` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import methods
from search.config.kinds import KINDS
from search.config.study_config import ModelConfig, StudyConfig
from search.config.study_file import inline, load
from search.config.task_config import DataConfig
from search.config.template import template
from search.tasks.sequence_classification import Config as SequenceClassificationConfig


def test_the_template_is_a_study(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(template("mine"))
    config = load(path)
    assert config.study == "mine"
    assert config.tasks[0].data.data_files == {
        split: str(tmp_path / f"{split}.csv") for split in ("train", "test")
    }
    assert set(config.methods) == {"head_only", "prompt_tuning", "p_tuning_v2"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_template_of_every_kind_is_a_study(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(template("mine", kind))
    config = load(path)
    assert type(config.tasks[0]) is KINDS[kind]
    assert set(yaml.safe_load(path.read_text())["tasks"][0]) == set(KINDS[kind].model_fields)


def test_every_setting_is_there_with_its_default() -> None:
    content = yaml.safe_load(template("mine"))
    assert set(content) == set(StudyConfig.model_fields)
    assert set(content["model"]) == set(ModelConfig.model_fields)
    assert set(content["tasks"][0]) == set(SequenceClassificationConfig.model_fields)
    assert set(content["tasks"][0]["data"]) == set(DataConfig.model_fields)
    for section in ("search", "training", "finalists", "cluster", "tracking"):
        assert content[section] == StudyConfig.model_fields[section].default.model_dump()


def test_every_description_and_every_method_is_there() -> None:
    text = template("mine")
    words = " ".join(line.lstrip("# ") for line in text.splitlines())
    for section in (ModelConfig, SequenceClassificationConfig, DataConfig):
        for name, field in section.model_fields.items():
            if name != "data":  # a section, whose own settings are described
                assert field.description in words, name
    for name in methods.names():
        assert f"{name}: # {methods.get(name).Method.title}" in text


def test_commented_ranges_are_valid_when_uncommented(tmp_path: Path) -> None:
    lines = template("mine").splitlines()
    path = tmp_path / "mine.yaml"
    uncommented = [
        line.replace("    # ", "    ", 1)
        if line.startswith("    # ") and ": " in line and line.count("# ") == 2
        else line
        for line in lines
    ]
    path.write_text("\n".join(uncommented))
    config = load(path)
    assert all(config.methods.values())


@pytest.mark.parametrize("name", ["my study", "_x", "---", "2024", "ümlaut"])
def test_any_file_name_makes_a_study_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(template(name))
    assert load(path).study


def test_inline_is_one_line_and_reads_back() -> None:
    for value in (None, 3, "1e5", "a b", [1, "x"], {"min": 1e-05, "max": 2}, "x" * 300):
        assert "\n" not in inline(value)
        assert yaml.safe_load(inline(value)) == value
