"""The recommended method as an MLflow model: saved and loaded as MLflow does, for each kind of task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow import MlflowClient

import methods
from methods.saved import folder as saved
from search.config import places
from search.export.folder import Exported
from search.study.study import Study
from search.tracking import logged_model
from search.tracking.study_run import StudyRun
from search.tracking.tracker import Tracker
from tests.methods.conftest import family_language_model
from tests.search.conftest import make_tokenizer
from tests.search.tracking.exported import CASES, QUESTIONS, TEXTS, config_of, export


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    """Folder of a random GPT-2 that writes, with the words of the tiny study."""
    family_language_model("gpt2").save_pretrained(tmp_path / "gpt2")
    make_tokenizer().save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


def answers(exported: Exported, rows: dict[str, list[Any]], task: str | None = None) -> list[Any]:
    columns = list(rows.values())
    texts = list(zip(*columns, strict=True)) if len(columns) > 1 else columns[0]
    return methods.load(exported.folder).predict(texts, task)


@pytest.mark.parametrize("case", CASES)
def test_the_model_answers_as_the_exported_folder_does(
    case: str, study: dict[str, Any], tiny_model: Path, decoder: Path, tmp_path: Path
) -> None:
    task, _, _, rows = CASES[case]
    config = config_of(study, decoder if case == "text" else tiny_model, task)
    exported = export(config, tmp_path / "exported", CASES[case])
    logged_model.save(config, exported, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert loaded.predict(pd.DataFrame(rows)) == answers(exported, rows)
    assert loaded.metadata.signature.inputs.input_names() == list(rows)
    assert loaded.metadata.signature.outputs is not None
    example = loaded.input_example
    assert list(example.columns) == list(rows)
    assert len(loaded.predict(example)) == 2
    files = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert not files & {".pkl", ".pickle", ".pt", ".bin", ".pth", ".joblib"}, "no pickle"
    assert (tmp_path / "model" / "code" / "methods" / "saved" / "folder.py").exists(), (
        "serves without promptfront"
    )


def test_of_several_tasks_a_parameter_says_which(
    study: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    made_of = [CASES["one label"], CASES["answers"]]
    config = config_of(study, tiny_model, *(task for task, *_ in made_of))
    exported = export(config, tmp_path / "exported", *made_of)
    logged_model.save(config, exported, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    texts = pd.DataFrame({"text": TEXTS})
    assert loaded.predict(texts) == answers(exported, {"text": TEXTS}, "task0")
    asked = loaded.predict(pd.DataFrame(QUESTIONS), params={"task": "task1"})
    assert asked == answers(exported, QUESTIONS, "task1")


def test_other_weights_are_refused(
    study: dict[str, Any], tiny_model: Path, decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(study, tiny_model, {})
    logged_model.save(config, export(config, tmp_path / "exported", CASES["one label"]), tmp_path / "model")
    monkeypatch.setenv("PROMPTFRONT_MODEL", str(decoder))
    with pytest.raises(saved.SavedError, match="not those"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))


def test_it_is_logged_once_and_registered_on_request(
    study: dict[str, Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = config_of(study, tiny_model, {})
    Tracker(Study(config))
    exported = export(config, tmp_path / "exported", CASES["one label"])
    logged = logged_model.log(config, exported)
    assert logged_model.log(config, exported) == logged
    assert logged_model.log(config, exported, register="tiny") == "models:/tiny/1"
    assert logged_model.log(config, exported, register="tiny") == "models:/tiny/1"
    client = MlflowClient(places.mlflow_uri(config))
    experiment, run = StudyRun.find(client, config)
    assert [each.model_id for each in client.get_run(run).outputs.model_outputs] == [
        logged.removeprefix("models:/")
    ]
    (model,) = client.search_logged_models([experiment])
    assert model.name == "p_tuning_v2"
    assert client.get_model_version("tiny", "1").run_id == run
