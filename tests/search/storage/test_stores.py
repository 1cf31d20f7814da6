"""The same study on PostgreSQL and on a tracking server with basic authentication, both real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from search.config import places
from search.config.study_config import StudyConfig
from search.errors import StorageError
from search.study.study import Study
from search.tracking import logged_model
from search.tracking.mlflow_store import TrackingError
from search.tracking.study_run import StudyRun
from search.tracking.tracker import Tracker
from tests.search.servers import PASSWORD, Postgres, TrackingServer
from tests.search.tracking.exported import CASES, config_of, export
from tests.search.tracking.runs import REPORT, evaluate, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL, without password and database, of a PostgreSQL of its own: databases `postgres` and `runs`."""
    server = Postgres()
    yield server.url
    server.remove()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a tracking server that asks for a user and a password."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "ada",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-this-test",
    }
    server = TrackingServer(folder, "--app-name", "basic-auth", environment=environment)
    yield server.url
    server.stop()


def assert_a_study_is_whole(config: StudyConfig, folder: Path) -> None:
    """Trials, the study's run, its report, and the recommended method in the registry, written and read again."""
    study = Study(config)
    done, failed = start(study), start(study)
    tracker = Tracker(study, 1000)
    evaluate(study, done, 2, 0.5)
    tracker.sync()
    evaluate(study, done, 6, 0.7)
    study.tell(done, TrialState.COMPLETE, 0.7, seconds=6.0)
    study.tell(failed, TrialState.FAIL, error="diverged: the loss is nan")
    (folder / "report").mkdir()
    (folder / "report" / "report.html").write_text("<p>report</p>")
    tracker.finish("FINISHED", REPORT, "# Leaderboard", folder / "report")
    client = MlflowClient(places.mlflow_uri(config))
    experiment, whole = StudyRun.find(client, config)
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert runs["tiny"].data.metrics["prompt_tuning_test_mean"] == 0.75
    assert len(client.get_run(whole).inputs.dataset_inputs) == 2
    history = client.get_metric_history(runs[str(done)].info.run_id, "validation")
    assert [(metric.step, metric.value) for metric in history] == [(2, 0.5), (6, 0.7)]
    assert runs[str(failed)].info.status == "FAILED"
    error = client.download_artifacts(runs[str(failed)].info.run_id, "error.txt", str(folder))
    assert "loss is nan" in Path(error).read_text()
    page = client.download_artifacts(whole, "report/report.html", str(folder))
    assert Path(page).read_text() == "<p>report</p>"
    assert Study(config, must_exist=True).trial(done).values == [0.7, 10]
    exported = export(config, folder / "exported", CASES["one label"])
    assert logged_model.log(config, exported, register="tiny") == "models:/tiny/1"
    assert logged_model.log(config, exported, register="tiny") == "models:/tiny/1"


@pytest.fixture
def config(study: dict[str, Any], tiny_model: Path) -> StudyConfig:
    return config_of(study, tiny_model, {"name": "topics"})  # as REPORT has it


def tracked(config: StudyConfig, **where: str) -> StudyConfig:
    return config.model_copy(update={"tracking": config.tracking.model_copy(update=where)})


def test_on_postgresql(
    config: StudyConfig, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert_a_study_is_whole(
        tracked(config, storage=f"{postgres}/postgres", mlflow_uri=f"{postgres}/runs"), tmp_path
    )


def test_on_a_server_that_asks_for_a_password(
    config: StudyConfig, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    assert_a_study_is_whole(tracked(config, mlflow_uri=server), tmp_path)


def test_a_wrong_password_of_postgresql(
    config: StudyConfig, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    url = postgres.replace("ada@", "ada:not-the-secret@") + "/postgres"
    for where in ("storage", "mlflow_uri"):
        with pytest.raises(StorageError, match="PGPASSWORD") as raised:
            Tracker(Study(tracked(config, **{where: url})))
        assert "not-the-secret" not in str(raised.value)
        assert raised.value.exit_code == 5


def test_a_wrong_password_of_a_server(
    config: StudyConfig, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-secret")
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_PASSWORD") as raised:
        Tracker(Study(tracked(config, mlflow_uri=server)))
    assert "not-the-secret" not in str(raised.value)
    assert raised.value.exit_code == 5
