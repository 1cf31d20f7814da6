"""A study from a notebook, then the recommended method served by MLflow: all of it real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import methods
import search
from search import api
from search.config import places, study_file
from search.driver.launch import Outcome
from tests.search.conftest import teach

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TEXTS = ["the cat and the dog", "bread with soup", "train and ticket"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def served(uri: str, store: str) -> Iterator[str]:
    """The address of `mlflow models serve` for a model, from a folder where promptfront is not."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        uri,
        "--env-manager",
        "local",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    process = subprocess.Popen(
        command, env={**environment, "MLFLOW_TRACKING_URI": store}, cwd=Path.home(), start_new_session=True
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def ask(address: str, texts: list[str]) -> Any:
    body = json.dumps({"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_a_study_from_a_notebook_to_a_served_model(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    study["methods"] = {"head_only": {}, "p_tuning_v2": {"num_virtual_tokens": 2}}
    teach(study)
    study["search"]["trials_per_method"] = 2

    async def cell() -> api.Results:
        """As in a notebook, whose cells run inside an event loop."""
        return search.run(study)

    found = asyncio.run(cell())
    assert found.outcome is Outcome.DONE
    assert found.warnings == []
    assert found.verdict == found.report["verdict"]
    assert (found.folder / "report" / "report.html").exists()
    assert list(found.trials["method"]) == ["head_only"] * 2 + ["p_tuning_v2"] * 2
    assert found.trials["config.learning_rate"].notna().all()
    assert set(found.finalists["method"]) == {"head_only", "p_tuning_v2"}
    assert found.finalists["test"].notna().any()

    config = study_file.parse(study)
    store = places.mlflow_uri(config)
    method = found.verdict["method"]
    assert method is not None, "the study has a verdict, and its method is an MLflow model"
    client = MlflowClient(store)
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.name == method
    assert search.run(study_file.parse(study)).outcome is Outcome.NOTHING_TO_DO
    assert len(client.search_logged_models([experiment.experiment_id])) == 1, "logged once"

    exported = api.export(config, found.report, None, None)
    uri = api.log_model(config, exported, "tiny")
    with served(uri, store) as address:
        assert ask(address, TEXTS) == methods.load(exported.folder).predict(TEXTS)
