"""The MLflow UI on the store of a study, for this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from search.config import StudyConfig
from search.errors import NoStudyError, PromptfrontError


def serve(config: StudyConfig | None, output_dir: Path, port: int, console: Console) -> None:
    """Serves until Ctrl-C.

    Args:
        config: of the study whose store is shown; None for the default store of `output_dir`.
        output_dir: where studies are kept.
        port: on the loopback interface.

    Raises:
        NoStudyError: there is no store.
        PromptfrontError: the server ended by itself, as it does when the port is taken.
    """
    uri = _uri(config, output_dir)
    if uri.startswith(("http://", "https://")):
        console.print(f"This study is tracked by a server: {uri}", highlight=False)
        return
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise NoStudyError(f"there is no MLflow store {uri}; launch a study first, from the same folder")
    console.print(f"MLflow UI: http://127.0.0.1:{port}  (Ctrl-C ends it)", highlight=False)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # Without it, MLflow starts ten processes for jobs that we have no use for.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    try:
        done = subprocess.run(command, env=environment, check=False)
    except KeyboardInterrupt:
        return
    if done.returncode > 0:
        raise PromptfrontError(
            f"the MLflow server ended with code {done.returncode}; is port {port} taken? Try --port"
        )


def _uri(config: StudyConfig | None, output_dir: Path) -> str:
    from search import tracking

    if config is not None:
        return tracking.uri(config)
    default = f"sqlite:///{(output_dir / 'mlflow.db').absolute().as_posix()}"
    return os.environ.get("MLFLOW_TRACKING_URI") or default
