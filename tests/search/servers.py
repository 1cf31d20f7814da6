"""A PostgreSQL, an MLflow tracking server and a bucket of our own, that can go away and come back, and a network that loses
answers."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pyarrow.fs import FileSelector, FileSystem

PASSWORD = "a-long-enough-secret"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def binaries() -> Path | None:
    """Folder of initdb and pg_ctl: Debian keeps them out of the PATH."""
    found = sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if (initdb := shutil.which("initdb")) is not None:
        found.insert(0, Path(initdb).resolve().parent)
    return found[-1] if found else None


class Postgres:
    """A server with user `ada`, and the databases `postgres` and `runs`; skips the test where there is none to run.

    Attributes:
        url: without password and database.
        port: on this machine.
    """

    def __init__(self) -> None:
        programs = binaries()
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = None
        if programs is None or (os.geteuid() == 0 and user is None):
            pytest.skip("POSTGRESQL IS NOT TESTED: it is not there (apt-get install postgresql)")
        self._programs = programs
        # It refuses to run as root.
        self._identity: dict[str, Any] = (
            {} if os.geteuid() else {"user": user.pw_uid, "group": user.pw_gid}  # type: ignore[union-attr]
        )
        self._folder = Path(tempfile.mkdtemp(prefix="promptfront-postgres-"))
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._identity:
            for path in (self._folder, secret):
                os.chown(path, self._identity["user"], self._identity["group"])
        self.port = free_port()
        self.url = f"postgresql://ada@127.0.0.1:{self.port}"
        self._run("initdb", self._data, "--username=ada", "--auth=scram-sha-256", f"--pwfile={secret}")
        self.start()
        login = (f"--port={self.port}", "--host=127.0.0.1", "--username=ada")
        self._run("createdb", *login, "runs", env={**os.environ, "PGPASSWORD": PASSWORD})

    @property
    def _data(self) -> str:
        return f"--pgdata={self._folder / 'data'}"

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "start", "--wait", self._data, f"--log={self._folder / 'log'}", "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--mode=immediate", self._data)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str, **more: Any) -> None:
        options = {**self._identity, **more}
        command = [str(self._programs / program), *arguments]
        subprocess.run(
            command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL, timeout=120, **options
        )


class TrackingServer:
    """`mlflow server` on a SQLite file.

    Args:
        folder: of its database, `mlflow.db`, and its artifacts.
        arguments, environment: more of them.

    Attributes:
        url: on this machine, the same after it has come back.
    """

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            **(environment or {}),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self._command = [sys.executable, "-m", "mlflow", "server", *arguments, "--workers", "1"]
        self._command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination"]
        self._command += [str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(self.port)]
        self.start()

    def start(self) -> None:
        log = self._folder / "log"
        with log.open("a") as file:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while True:
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self.url}/health", timeout=5)
                return
            time.sleep(0.3)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)


class Bucket:
    """An S3 server with one bucket.

    Attributes:
        uri: of a folder in it.
    """

    KEYS: ClassVar = {
        "AWS_ACCESS_KEY_ID": "ada",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def __init__(self) -> None:
        self._port = free_port()
        options = f"endpoint_override=127.0.0.1:{self._port}&scheme=http&region=us-east-1"
        self.uri = f"s3://bucket/kept?{options}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        made = urllib.request.Request(f"http://127.0.0.1:{self._port}/bucket", method="PUT")
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(made, timeout=5)
                return
            except (urllib.error.URLError, ConnectionError):
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def names(self) -> list[str]:
        """Of all files, from the folder's own on."""
        system, path = FileSystem.from_uri(self.uri)
        found = system.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
        return sorted(file.path.removeprefix(f"{path}/") for file in found if file.is_file)


class LossyNetwork:
    """A way to a server on which answers are lost: what is asked arrives, and then the connection breaks.

    Args:
        port: of the server, on this machine.
        mark: what the questions contain whose answers are lost.
        every: of how many of them one is.
        after: they count only after one that this pattern is found in.

    Attributes:
        port: that stands for the server's.
        lost: answers so far.
    """

    def __init__(self, port: int, mark: bytes, every: int, after: bytes = b"") -> None:
        self._server, self._mark, self._every, self._after = port, mark, every, after
        self._asked = self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server:
            losing = armed = False
            with contextlib.suppress(ConnectionError):
                while True:
                    for ready in select.select([client, server], [], [])[0]:
                        data = ready.recv(2**16)
                        if ready is server and losing:
                            self.lost += 1
                            return  # the server has answered, and nobody hears it
                        if not data:
                            return
                        (server if ready is client else client).sendall(data)
                        armed = armed or (ready is client and re.search(self._after, data) is not None)
                        if ready is client and armed and self._mark in data:
                            self._asked, armed = self._asked + 1, False
                            losing = self._asked % self._every == 0
