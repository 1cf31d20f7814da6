"""MLflow as a projection of the study, on a real MLflow store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

import methods
from search.config import study_file
from search.config.places import mlflow_uri, without_passwords
from search.config.study_config import StudyConfig
from search.study import finalists, race
from search.study.study import Assignment, Study
from search.tracking.mlflow_store import TrackingError
from search.tracking.tracker import Tracker
from tests.search import studies
from tests.search.conftest import write_study
from tests.search.tracking.runs import COUNTS, REPORT, SHA256, evaluate, runs, start


@pytest.fixture
def config(study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyConfig:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return study_file.load(write_study(study, tmp_path))


def test_each_trial_is_a_child_run_with_its_curve_and_status(config: StudyConfig, tmp_path: Path) -> None:
    study = Study(config)
    complete, pruned, failed, running = (start(study) for _ in range(4))
    for step, validation in ((2, 0.5), (4, 0.8), (6, 0.7)):
        evaluate(study, complete, step, validation)
    study.record_facts(complete, step_seconds=0.5, peak_memory_bytes=2**30)
    study.tell(complete, TrialState.COMPLETE, 0.7, seconds=6.0)
    evaluate(study, pruned, 2, 0.1)
    study.tell(pruned, TrialState.PRUNED, seconds=2.0)
    study.tell(failed, TrialState.FAIL, error="diverged: the loss is nan")
    evaluate(study, running, 2, 0.3)
    Tracker(study, backbone_parameters=1000).sync()

    found = runs(config)
    assert set(found) == {"tiny", *map(str, (complete, pruned, failed, running))}
    parent = found["tiny"].info.run_id
    assert all(run.data.tags["mlflow.parentRunId"] == parent for name, run in found.items() if name != "tiny")
    assert [found[str(key)].info.status for key in (complete, pruned, failed, running)] == [
        "FINISHED",
        "KILLED",
        "FAILED",
        "RUNNING",
    ]
    run = found[str(complete)]
    assert run.data.params["method"] == complete.method
    assert run.data.params["learning_rate"] == "0.003"
    metrics = run.data.metrics
    assert metrics["best_validation"] == 0.7
    assert metrics["best_accuracy"] == 0.7
    assert metrics["validation"] == 0.7
    assert metrics["backbone_share"] == 0.01
    assert metrics["step_seconds"] == 0.5
    assert metrics["peak_memory_bytes"] == 2**30
    assert "init_text" not in found[str(pruned)].data.params, "a parameter that does not apply"
    assert metrics["seconds"] == 6.0
    assert {name: metrics[name] for name in COUNTS} == COUNTS
    history = MlflowClient(mlflow_uri(config)).get_metric_history(run.info.run_id, "validation")
    assert [(metric.step, metric.value) for metric in history] == [(2, 0.5), (4, 0.8), (6, 0.7)]
    assert study.facts_of_trials("mlflow_run_id")[complete] == run.info.run_id
    artifact = MlflowClient(mlflow_uri(config)).download_artifacts(
        found[str(failed)].info.run_id, "error.txt", str(tmp_path)
    )
    assert "loss is nan" in Path(artifact).read_text()


def test_a_trial_that_is_being_proposed_has_no_run_yet(config: StudyConfig) -> None:
    study = Study(config)
    study._trials["prompt_tuning", "search"].start({}, {}, {})  # its configuration is not recorded
    tracker = Tracker(study)
    tracker.sync()
    assert set(runs(config)) == {"tiny"}


def test_a_second_driver_goes_on_with_the_same_runs(config: StudyConfig) -> None:
    """The first one died: its run is RUNNING, half its curve is written."""
    first = Study(config)
    key = start(first)
    evaluate(first, key, 2, 0.5)
    Tracker(first).sync()
    before = runs(config)
    second = Study(config)
    tracker = Tracker(second)
    assert start(second) == key
    evaluate(second, key, 4, 0.6)
    evaluate(second, key, 6, 0.7)
    second.tell(key, TrialState.COMPLETE, 0.7, seconds=1.0)
    tracker.sync()
    tracker.sync()
    after = runs(config)
    assert {name: run.info.run_id for name, run in after.items()} == {
        n: r.info.run_id for n, r in before.items()
    }
    history = MlflowClient(mlflow_uri(config)).get_metric_history(after[str(key)].info.run_id, "validation")
    assert [metric.step for metric in history] == [2, 4, 6]


def test_what_mlflow_missed_is_written_later(config: StudyConfig) -> None:
    """Trials that began and ended while MLflow was away."""
    study = Study(config)
    key = start(study)
    evaluate(study, key, 6, 0.7)
    study.tell(key, TrialState.COMPLETE, 0.7, seconds=1.0)
    study.record_trial_fact(
        key,
        finalists.TEST,
        {
            "test": 0.6,
            "task_scores": {"topics": 0.6},
            "metrics": {"topics": {"macro_f1": 0.55}},
            "sha256": {},
        },
    )
    Tracker(Study(config)).sync()
    run = runs(config)[str(key)]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test"] == 0.6
    assert run.data.metrics["test_topics_macro_f1"] == 0.55
    assert run.data.metrics["topics_f1_a_b"] == 0.25, "a label's characters that MLflow refuses are replaced"


def test_only_runs_of_the_chosen_finalist_are_marked(config: StudyConfig) -> None:
    """Those that it raced are scored on test too."""
    study = Study(config)
    studies.run(study, studies.by_rate)
    studies.scored(study)
    Tracker(study).sync()
    chosen = {method: f"{method}-{race.choose(study, method):03d}" for method in config.methods}
    scored = [run.data for run in runs(config).values() if "test" in run.data.metrics]
    assert len(scored) == 2 * 2 * len(chosen)
    for found in scored:
        marked = found.tags["promptfront.from"] == chosen[found.params["method"]]
        assert ("promptfront.chosen" in found.tags) == marked


def test_a_run_whose_driver_died_before_its_status_is_ended(config: StudyConfig) -> None:
    study = Study(config)
    key = start(study)
    evaluate(study, key, 6, 0.7)
    study.tell(key, TrialState.COMPLETE, 0.7)
    Tracker(study).sync()
    run_id = runs(config)[str(key)].info.run_id
    MlflowClient(mlflow_uri(config)).update_run(run_id, status="RUNNING")
    Tracker(Study(config)).sync()
    run = runs(config)[str(key)]
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    history = MlflowClient(mlflow_uri(config)).get_metric_history(run_id, "validation")
    assert [metric.step for metric in history] == [6]


def test_a_curve_may_be_longer_than_what_mlflow_takes_at_once(config: StudyConfig) -> None:
    study = Study(config)
    key = start(study)
    for step in range(1, 301):
        evaluate(study, key, step, 0.5)
    study.tell(key, TrialState.COMPLETE, 0.5)
    Tracker(study).sync()
    run = runs(config)[str(key)]
    history = MlflowClient(mlflow_uri(config)).get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in history] == list(range(1, 301)), "1,200 metrics"
    assert run.data.params["method"] == key.method


def test_nothing_is_left_running(config: StudyConfig, tmp_path: Path) -> None:
    study = Study(config)
    key = start(study)
    evaluate(study, key, 2, 0.5)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>report</p>")
    Tracker(study).finish("KILLED", REPORT, "# Leaderboard", tmp_path / "report")
    found = runs(config)
    assert {run.info.status for run in found.values()} == {"KILLED"}
    assert found["tiny"].data.tags["mlflow.note.content"].startswith("# Leaderboard\n")
    assert "mlflow.user" in found["tiny"].data.tags
    client = MlflowClient(mlflow_uri(config))
    assert client.get_experiment_by_name("tiny").tags["mlflow.experimentKind"] == "custom_model_development"
    assert [file.path for file in client.list_artifacts(found["tiny"].info.run_id, "report")] == [
        "report/report.html"
    ]
    metrics = found["tiny"].data.metrics
    assert metrics == {
        "prompt_tuning_best_validation": 0.8,
        "prompt_tuning_deployed_parameters": 10,
        "prompt_tuning_backbone_share": 0.01,
        "prompt_tuning_validation_mean": 0.78,
        "prompt_tuning_test_mean": 0.75,
        "prompt_tuning_test_ci_low": 0.7,
        "prompt_tuning_test_ci_high": 0.8,
    }
    inputs = found["tiny"].inputs.dataset_inputs
    assert {each.dataset.name: json.loads(each.dataset.profile) for each in inputs} == {
        "topics train": {"sha256": SHA256["train"], "rows": 60},
        "topics validation": {"sha256": SHA256["validation"], "rows": 30},
    }
    assert {json.loads(each.dataset.source)["path"] for each in inputs} == {"csv"}
    resumed = Study(config)
    tracker = Tracker(resumed)
    assert start(resumed) == key
    tracker.sync()
    assert {run.info.status for run in runs(config).values()} == {"RUNNING"}
    resumed.tell(key, TrialState.PRUNED, seconds=1.0)
    tracker.sync()
    assert runs(config)[str(key)].info.status == "KILLED", "stopped early now, interrupted before"
    assert "best_validation" in runs(config)[str(key)].data.metrics


def test_the_environment_names_the_store(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mlflow_uri(config).endswith("/outputs/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert mlflow_uri(config) == "http://127.0.0.1:5001"


def test_a_store_out_of_reach_is_named(study: dict[str, Any], tmp_path: Path) -> None:
    study["tracking"] = {"mlflow_uri": f"sqlite:///{tmp_path}/study.yaml/mlflow.db"}
    config = study_file.load(write_study(study, tmp_path))
    with pytest.raises(TrackingError, match="cannot write to MLflow"):
        Tracker(Study(config))


def test_a_finalist_is_tagged_with_where_it_comes_from(config: StudyConfig) -> None:
    study = Study(config)
    while (assignment := study.next()) not in ("wait", "done"):
        assert isinstance(assignment, Assignment)
        evaluate(study, assignment.key, 6, 0.5 + assignment.key.number / 100)
        study.tell(assignment.key, TrialState.COMPLETE, 0.5 + assignment.key.number / 100, seconds=1.0)
    Tracker(study).sync()
    tags = runs(config)["prompt_tuning-final-000"].data.tags
    assert tags["promptfront.from"] == "prompt_tuning-002"
    assert tags["promptfront.role"] == "best"
    assert tags["promptfront.seed_index"] == "0"
    assert "promptfront.from" not in runs(config)["prompt_tuning-002"].data.tags


def test_names_of_methods_stay_apart_where_mlflow_cuts_them() -> None:
    """Parallel coordinates shows ten characters of a category."""
    names = methods.names()
    assert len({name[:10] for name in names}) == len(names)


def test_no_password_is_shown() -> None:
    url = "postgresql://ada:se%40cret@host/db"
    shown = without_passwords(f"cannot reach {url}: user ada, password se@cret", url)
    assert shown == "cannot reach postgresql://ada:***@host/db: user ada, password ***"
    assert without_passwords("--set a=http://ada:x:y@host:5000/") == "--set a=http://ada:***@host:5000/"
