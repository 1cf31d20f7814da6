"""Study files: read, overridden, validated whole, written back."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from search.config.study_file import dump, load
from search.errors import StudyFileError
from tests.search.conftest import write_study


def problems(study: dict[str, Any], folder: Path, *overrides: str) -> list[str]:
    """The lines of the error that loading the study raises."""
    with pytest.raises(StudyFileError) as caught:
        load(write_study(study, folder), overrides)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def changed(study: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of the study with one value changed."""
    study = copy.deepcopy(study)
    *parents, last = path.split(".")
    place: Any = study
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    place[last] = value
    return study


def test_defaults_fill_what_the_file_leaves_out(study_file: Path) -> None:
    config = load(study_file)
    assert config.study == "tiny"
    assert config.search.trials_per_method == 3
    assert config.training.warmup_ratio == 0.1
    assert config.methods["head_only"] == {}


def test_relative_paths_are_relative_to_the_study_file(study_file: Path, tmp_path: Path) -> None:
    files = load(study_file).tasks[0].data.data_files
    assert files == {split: str(tmp_path / f"{split}.csv") for split in ("train", "validation", "test")}


def test_own_data_file_and_model_folder_are_relative_to_the_study_file(study: Any, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    study = changed(study, "model.name_or_path", "model")
    study = changed(study, "tasks.0.data", {"path": "rows.py"})
    config = load(write_study(study, tmp_path))
    assert config.model.name_or_path == str(tmp_path / "model")
    assert config.tasks[0].data.path == str(tmp_path / "rows.py")


def test_hub_ids_and_urls_stay_as_they_are(study: Any, tmp_path: Path) -> None:
    study = changed(study, "model.name_or_path", "owner/model")
    study = changed(study, "tasks.0.data.data_files", {"train": "https://host/train.csv", "test": "test.csv"})
    config = load(write_study(study, tmp_path))
    assert config.model.name_or_path == "owner/model"
    assert config.tasks[0].data.data_files == {
        "train": "https://host/train.csv",
        "test": str(tmp_path / "test.csv"),
    }


def test_dump_is_read_back_equal(study: Any, tmp_path: Path) -> None:
    study = changed(study, "methods.prompt_tuning.init", ["vocab", "labels"])
    study = changed(study, "methods.prompt_tuning.learning_rate", 1e-05)
    config = load(write_study(study, tmp_path), ["model.revision='1e5'"])  # text that looks like a number
    again = tmp_path / "elsewhere" / "config.yaml"
    again.parent.mkdir()
    again.write_text(dump(config))
    assert load(again) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("search.trials_per_method=8", lambda config: config.search.trials_per_method == 8),
        ("tasks.0.few_shot=8", lambda config: config.tasks[0].few_shot == 8),
        ("training.weight_decay=1e-3", lambda config: config.training.weight_decay == 0.001),
        ("tracking.storage=sqlite:///a=b.db", lambda config: config.tracking.storage == "sqlite:///a=b.db"),
        ("tasks.0.data.test_split=null", lambda config: config.tasks[0].data.test_split is None),
        (
            "methods.prompt_tuning.num_virtual_tokens={min: 3, max: 5, log: true}",
            lambda config: config.methods["prompt_tuning"]["num_virtual_tokens"].log,
        ),
        ("methods.head_only.readout=[mean, first]", lambda config: len(config.methods["head_only"]) == 1),
    ],
)
def test_overrides(study_file: Path, override: str, expected: Any) -> None:
    assert expected(load(study_file, [override]))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("search.trials_per_method", "must be KEY=VALUE"),
        ("tasks.3.few_shot=8", "tasks.3 is a value, not a section"),
        ("tasks.first=8", "must be a number from 0 to 0"),
        ("study.name=x", "study is a value, not a section"),
        ("search.trails_per_method=8", "did you mean trials_per_method?"),
        ("search.eta=[", "not valid YAML"),
    ],
)
def test_wrong_overrides(study: Any, tmp_path: Path, override: str, expected: str) -> None:
    (problem,) = problems(study, tmp_path, override)
    assert expected in problem


def test_scientific_notation_is_a_number(tmp_path: Path, study: Any) -> None:
    path = write_study(study, tmp_path)
    path.write_text(path.read_text().replace("max_steps: 6", "max_steps: 6\n  weight_decay: 5e-4"))
    assert load(path).training.weight_decay == 5e-4


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("study", "my study", "study: must have only letters, digits"),
        ("study", 2024, "study: must be text, not 2024; put it in quotes"),
        ("seed", -1, "seed: must be at least 0, not -1"),
        ("modle", {}, "modle: unknown key; did you mean model?"),
        ("model.sha256", "abc", "model.sha256: must be the 64 lower-case hexadecimal digits"),
        (
            "model.dtype",
            "float23",
            "model.dtype: must be one of float32, bfloat16, not 'float23'; did you mean",
        ),
        ("tasks", [], "tasks: must be at least 1 long"),
        ("tasks.0.metric", "acuracy", "did you mean accuracy?"),
        ("tasks.0.text", "{}", "tasks.0.text: must be a column or a template"),
        ("tasks.0.text", "{title", "tasks.0.text: must have columns in pairs of braces"),
        ("tasks.0.data.data_files", None, "tasks.0.data.data_files: must give the csv files"),
        (
            "tasks.0.data.test_split",
            "train",
            "tasks.0.data.test_split: must be another split than train_split",
        ),
        ("search.trials_per_method", 0, "search.trials_per_method: must be at least 1, not 0"),
        ("search.early_stopping", "yes", "search.early_stopping: must be true or false"),
        ("training.max_steps", "6", "must be a whole number, not '6'; write it without quotes"),
        ("training.max_steps", True, "training.max_steps: must be a whole number, not true"),
        ("training.eval_steps", 7, "training.eval_steps: must be at most max_steps (6), not 7"),
        (
            "training.weight_decay",
            float("nan"),
            "training.weight_decay: must be a finite number",
        ),
        ("training", 5, "training: must be a section with the keys max_steps"),
        (
            "cluster.cpus_per_trial",
            1.5,
            "cluster.cpus_per_trial: must be a fraction below 1 or a whole number",
        ),
        ("cluster.trials_per_gpu", 0, "cluster.trials_per_gpu: must be"),
        (
            "cluster",
            {"gpus_per_trial": 0.5, "trials_per_gpu": 4},
            "trials_per_gpu: must be 1 with gpus_per_trial 0.5",
        ),
        ("tracking.mlflow_uri", "mlruns", "tracking.mlflow_uri: must be a URL"),
        ("methods", {}, "methods: must be at least 1 long"),
        ("methods.prompt_tunning", {}, "methods.prompt_tunning: unknown method; did you mean prompt_tuning?"),
        ("methods.head_only", 5, "methods.head_only: must be a section"),
        ("methods.head_only.lr", 5, "methods.head_only.lr: unknown hyperparameter of head_only; allowed:"),
        ("methods.head_only.learning_rat", 5, "did you mean learning_rate?"),
        ("methods.head_only.learning_rate", None, "must be a value, a list of values, or a range"),
        ("methods.head_only.learning_rate", "fast", "must be a number, not 'fast'"),
        (
            "methods.head_only.readout",
            "maen",
            "must be one of 'first', 'mean', 'last', 'model', not 'maen'; did you mean mean?",
        ),
        ("methods.head_only.readout", ["mean", "mean"], "must not have the same value twice"),
        ("methods.head_only.readout", {"min": 1, "max": 2}, "not a range"),
        ("methods.head_only.learning_rate", [], "must be a list with at least one value"),
        ("methods.head_only.learning_rate", {"min": 1, "max": 1}, "min must be below max; got min 1, max 1"),
        ("methods.head_only.learning_rate", {"min": 0, "max": 1, "log": True}, "must be above 0, not 0"),
        ("methods.head_only.learning_rate", {"min": 0, "mx": 1}, "did you mean max?"),
        ("methods.prompt_tuning.num_virtual_tokens", 4.5, "must be a whole number, not 4.5"),
        ("methods.prompt_tuning.num_virtual_tokens", {"min": 1.5, "max": 4}, "min must be a whole number"),
    ],
)
def test_a_mistake_is_told_in_plain_words(
    study: Any, tmp_path: Path, path: str, value: object, expected: str
) -> None:
    found = problems(changed(study, path, value), tmp_path)
    assert any(expected in line for line in found), found
    assert not any("pydantic" in line or "Input should" in line for line in found)


def test_all_mistakes_are_told_at_once(study: Any, tmp_path: Path) -> None:
    study = changed(study, "model.max_length", 0)
    study = changed(study, "search.trails", 3)
    study = changed(study, "methods.prompt_tunning", {})
    study = changed(study, "methods.p_tuning_v2.learning_rate", {"min": 1, "max": 0})
    found = problems(study, tmp_path, "seed=-1")
    paths = [line.partition(":")[0] for line in found]
    assert sorted(paths) == [
        "methods.p_tuning_v2.learning_rate",
        "methods.prompt_tunning",
        "model.max_length",
        "search.trails",
        "seed",
    ]


def test_what_is_missing_is_described(study: Any, tmp_path: Path) -> None:
    del study["tasks"][0]["label"]
    assert problems(study, tmp_path) == [
        "tasks.0.label: is missing (Column of the label, of the list of labels, or of the number)"
    ]


def test_each_kind_of_task_has_settings_of_its_own(study: Any, tmp_path: Path) -> None:
    study["tasks"][0]["kind"] = "question_anwsering"
    (problem,) = problems(study, tmp_path)
    assert problem.startswith("tasks.0.kind: must be one of sequence_classification, question_answering")
    assert "did you mean question_answering?" in problem
    study["tasks"][0] |= {"kind": "token_classification", "text_pair": "other", "loss_weight": -1}
    found = problems(study, tmp_path)
    assert any(line.startswith("tasks.0.text_pair: unknown key") and "metric" in line for line in found)
    assert "tasks.0.loss_weight: must be above 0, not -1" in found


def test_a_loss_weight_is_a_value_a_list_or_a_range(study: Any, tmp_path: Path) -> None:
    study["tasks"][0]["loss_weight"] = {"min": 1, "max": 2, "mx": 3}
    assert "tasks.0.loss_weight.mx: unknown key" in problems(study, tmp_path)[0]
    study["tasks"][0]["loss_weight"] = {"min": 0, "max": 2}
    assert problems(study, tmp_path) == ["tasks.0.loss_weight: must be above 0, not 0.0"]


def test_task_names_differ(study: Any, tmp_path: Path) -> None:
    study["tasks"] *= 2
    assert "more than one is called topics" in problems(study, tmp_path)[0]


def test_empty_sections_keep_their_defaults(study: Any, tmp_path: Path) -> None:
    config = load(write_study({**study, "finalists": None, "methods": {"head_only": None}}, tmp_path))
    assert config.finalists.num_seeds == 5
    assert config.methods == {"head_only": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("study: a\nstudy: b\n", "the key 'study' appears twice"),
        ("study: [\n", "not valid YAML"),
        ("- a\n", "must have sections"),
        ("", "must have sections"),
        ("study: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_study(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(StudyFileError, match=expected):
        load(path)


def test_what_aliases_repeat_is_overridden_apart(study: Any, tmp_path: Path) -> None:
    study["tasks"].append({**study["tasks"][0], "name": "other"})
    path = write_study(study, tmp_path)
    assert "*id001" in path.read_text()
    config = load(path, ["tasks.0.data.test_split=null"])
    assert [task.data.test_split for task in config.tasks] == [None, "test"]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="promptfront init"):
        load(tmp_path / "none.yaml")
