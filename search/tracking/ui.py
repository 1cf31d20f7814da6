"""Serves the MLflow UI for a study's store, on this machine only and with a password."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from search.config.study_config import StudyConfig
from search.errors import NoStudyError, PromptfrontError

_USER = "admin"


def serve(config: StudyConfig | None, output_dir: Path, port: int, console: Console) -> None:
    """Serves the UI until Ctrl-C or SIGTERM, or until the terminal closes.

    Args:
        config: the study whose store is shown; None shows the default store of `output_dir`.
        output_dir: the folder that holds the studies.
        port: a port of the loopback interface.
        console: where the address and the password are printed.

    Raises:
        NoStudyError: the store does not exist.
        PromptfrontError: the server stopped by itself, for example because the port is taken.
    """
    from search.config import places

    uri = places.default_mlflow_uri(output_dir) if config is None else places.mlflow_uri(config)
    if places.is_server(uri):
        shown = places.without_passwords(uri)
        console.print(f"The runs are on an MLflow server; open {shown} in your browser.", highlight=False)
        return
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise NoStudyError(f"there is no MLflow store {uri}; launch a study from this folder first")
    folder = (output_dir if config is None else config.output_dir).absolute() / "mlflow_auth"
    password = _password(folder)
    lines = [f"MLflow UI: http://127.0.0.1:{port}/{_page(config, uri)}  (Ctrl-C stops it)"]
    lines += [f"user:      {_USER}", f"password:  {password}  (kept in {folder / 'password.txt'})"]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--app-name", "basic-auth"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # not on the command line, where other users could read a password
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": _USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        # Otherwise MLflow starts ten processes for jobs that we do not use.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    # The server's workers would outlive it, so it starts a process group, which we end as a whole.
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:
        try:
            code = server.wait()
        except KeyboardInterrupt:
            os.killpg(server.pid, signal.SIGTERM)
            return
    if code > 0:
        raise PromptfrontError(
            f"the MLflow server stopped with code {code}. If port {port} is taken, choose another one with --port"
        )


def _page(config: StudyConfig | None, uri: str) -> str:
    """The page with the study's runs; MLflow's own start page is about chat applications."""
    from search.tracking import mlflow_store
    from search.tracking.study_run import StudyRun

    if config is None:
        return ""
    with mlflow_store.errors(uri):
        experiment, _ = StudyRun.find(mlflow_store.connect(uri), config)
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning"


def _password(folder: Path) -> str:
    """Returns the UI's password, and creates it with the users' database at the first use.

    Only the owner can read the files. If the password's file is gone, both are created again, since the database keeps
    only a hash of the password.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file, users = folder / "password.txt", folder / "users.db"
    if not file.exists():
        users.unlink(missing_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(secrets.token_urlsafe(12) + "\n")
    content = f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///{users.as_posix()}\n"
    (folder / "basic_auth.ini").write_text(content.replace("%", "%%"), encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()
