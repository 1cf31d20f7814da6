"""The database or the tracking server is away while a study runs, or its answers are lost: nothing is, and nothing is twice."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from search.config import study_file
from search.study.readings import curve
from search.study.study import Study
from search.tracking.tracker import Tracker
from tests.search.conftest import write_study
from tests.search.launches import assert_whole, mlflow_runs, progress, some_ended, start, trials, wait_until
from tests.search.servers import PASSWORD, LossyNetwork, Postgres, TrackingServer
from tests.search.studies import by_rate, run
from tests.search.tracking.runs import evaluate
from tests.search.tracking.runs import start as start_trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TWO = ("head_only", "prompt_tuning")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrackingServer]:
    (tmp_path / "server").mkdir()
    server = TrackingServer(tmp_path / "server")
    yield server
    server.stop()


@pytest.fixture
def folder(study: dict[str, Any], tmp_path: Path) -> Path:
    """A study of two methods, all of whose trials run to their end."""
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in TWO}
    study["search"] = {"trials_per_method": 2, "early_stopping": False}
    study["training"] = {**study["training"], "max_steps": 40, "eval_steps": 10}
    write_study(study, tmp_path)
    return tmp_path


def test_training_goes_on_without_the_tracking_server(folder: Path, server: TrackingServer) -> None:
    process = start("launch", "study.yaml", "--set", f"tracking.mlflow_uri={server.url}", cwd=folder)
    database = "server/mlflow.db"
    wait_until(
        lambda: "RUNNING" in mlflow_runs(folder, database).values() and some_ended(folder, 1)(), process
    )
    server.stop()
    wait_until(progress(folder), process)
    server.start()
    assert process.wait(200) == 0, (folder / "launch.log").read_text()
    assert "warning" not in (folder / "launch.log").read_text()
    assert_whole(folder, TWO, each=2, database=database)
    with sqlite3.connect(folder / database) as connection:
        query = "select run_uuid, step from metrics where key = 'validation'"
        points = Counter(connection.execute(query))
    assert set(points.values()) == {1}, "no evaluation is there twice"
    assert len(points) == sum(len(curve(trial)) for trial in trials(folder).values()), "and none is missing"


def test_a_study_waits_for_its_database(
    folder: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    storage = f"{postgres.url}/postgres"
    process = start("launch", "study.yaml", "--set", f"tracking.storage={storage}", cwd=folder)
    wait_until(some_ended(folder, 1, storage), process)
    postgres.stop()
    wait_until(lambda: "is away; waiting for it" in (folder / "launch.log").read_text(), process)
    postgres.start()
    assert process.wait(200) == 0, (folder / "launch.log").read_text()
    assert_whole(folder, TWO, each=2, storage=storage)


def test_lost_answers_of_a_database_make_nothing_twice(
    study: dict[str, Any], tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every second transaction that makes a trial or ends one."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    network = LossyNetwork(postgres.port, b"COMMIT", every=2, after=b"INSERT INTO trials|UPDATE trials")
    url = f"postgresql://ada@127.0.0.1:{network.port}/postgres"
    config = study_file.load(write_study({**study, "study": "lossy", "tracking": {"storage": url}}, tmp_path))
    opened = Study(config)
    done = run(opened, by_rate)
    network.close()
    assert network.lost >= 10
    direct = f"postgresql://ada@127.0.0.1:{postgres.port}/postgres"
    again = Study(
        config.model_copy(update={"tracking": config.tracking.model_copy(update={"storage": direct})})
    )
    kept = {key: trial.state for key, trial in again.trials()}
    assert kept == {assignment.key: TrialState.COMPLETE for assignment in done}
    assert len([key for key in kept if key.stage == "search"]) == 9


def test_lost_answers_of_a_tracking_server_make_no_run_twice(
    study: dict[str, Any], tmp_path: Path, server: TrackingServer
) -> None:
    network = LossyNetwork(server.port, b"runs/create", every=2)
    url = f"http://127.0.0.1:{network.port}"
    config = study_file.load(write_study({**study, "tracking": {"mlflow_uri": url}}, tmp_path))
    opened = Study(config)
    tracker = Tracker(opened)
    keys = [start_trial(opened) for _ in range(4)]
    for key in keys:
        evaluate(opened, key, 2, 0.5)
    tracker.sync(patient=True)
    network.close()
    assert network.lost >= 2
    client = MlflowClient(server.url)
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")
    runs = client.search_runs([experiment.experiment_id])
    names = [run.data.tags["mlflow.runName"] for run in runs]
    assert sorted(names) == sorted([*map(str, keys), "tiny"])
    assert all(run.data.params["seed"] for run in runs if run.data.tags["mlflow.runName"] != "tiny")
