"""Ray Jobs: runs commands on a cluster over HTTP.

A job's working directory holds the packages of this source tree and the files given for the job. It is temporary, so a
job must write its results to other folders of the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from clusters.connect import ClusterError

_SOURCE = Path(__file__).resolve().parent.parent
_PACKAGES = ("search", "methods", "clusters", "dashboards")
_MOST_BYTES = 100 * 2**20
_STOP_SECONDS = 120
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Modules of Ray that log each upload."""
_STARTED = "Running entrypoint for job"
_KEY = "promptfront"


class ShippingError(Exception):
    """The files for a job cannot be sent; the message says what to do."""

    exit_code = 2


@dataclass(frozen=True)
class Job:
    """A job of a study: its submission id, and one of PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED."""

    id: str
    state: str
    ended: bool


class Jobs:
    """The jobs of a cluster.

    Args:
        address: the cluster's dashboard, as http://host:port.

    Raises:
        ClusterError: the cluster cannot be reached, or refuses the token.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        for module in _TALKATIVE:
            logging.getLogger(module).setLevel(logging.WARNING)
        with _reached(address), _no_other_address():
            self._client = JobSubmissionClient(address)

    def latest(self, key: str) -> Job | None:
        """The last job submitted under a key, or None."""
        jobs = self._of(key)
        return _job(max(jobs, key=_number)) if jobs else None

    def submit(self, key: str, name: str, command: str, folder: Path) -> str:
        """Starts a command and returns at once.

        Args:
            key: a text by which `latest` finds the job again.
            name: the readable part of the submission id.
            command: a shell command; start its program with `exec`, so that the program receives the stop signal.
            folder: the working directory, as `packed` yields it.

        Returns:
            The submission id.

        Raises:
            ClusterError: the cluster cannot be reached, or already has a job with this id.
        """
        number = max((_number(job) for job in self._of(key)), default=0) + 1
        digest = hashlib.sha256(key.encode()).hexdigest()[
            :8
        ]  # studies in other folders may have the same name
        return self._submit(f"promptfront-{name}-{digest}-{number}", command, folder, {_KEY: key})

    def run(self, command: str, folder: Path) -> tuple[int, str]:
        """Runs a short command to its end; returns its exit code and output.

        Raises:
            ClusterError: the cluster cannot be reached, or could not start the command.
        """
        id = self._submit(f"promptfront-command-{os.urandom(6).hex()}", command, folder, {})
        with _reached(self.address):
            try:
                while not (details := self._client.get_job_info(id)).status.is_terminal():
                    time.sleep(0.3)
                printed = _printed(self._client.get_job_logs(id))
            except BaseException:
                self._client.stop_job(id)
                raise
            if details.driver_exit_code is None:
                raise ClusterError(f"the cluster at {self.address} could not run a job: {details.message}")
            self._client.delete_job(id)
            return details.driver_exit_code, printed

    def logs(self, id: str) -> str:
        """The output of a job so far."""
        with _reached(self.address):
            return _printed(self._client.get_job_logs(id))

    def follow(self, id: str, write: Callable[[str], object]) -> Job:
        """Passes a job's output to `write` until the job ends; returns the ended job."""

        async def tail() -> None:
            read = ""
            async for lines in self._client.tail_job_logs(id):
                if _STARTED in read:
                    write(lines)
                else:
                    read += lines
                    write(_printed(read) if _STARTED in read else "")

        with _reached(self.address):
            asyncio.run(tail())
            return self._wait(id)

    def stop(self, id: str) -> Job:
        """Asks a job to stop cleanly and waits until it has; returns the ended job."""
        with _reached(self.address):
            self._client.stop_job(id)
            return self._wait(id)

    def _wait(self, id: str) -> Job:
        while not (job := _job(self._client.get_job_info(id))).ended:
            time.sleep(0.3)
        return job

    def _of(self, key: str) -> list[JobDetails]:
        with _reached(self.address):
            return [job for job in self._client.list_jobs() if (job.metadata or {}).get(_KEY) == key]

    def _submit(self, id: str, command: str, folder: Path, metadata: dict[str, str]) -> str:
        # By default Ray kills a stopped job after three seconds; a trial may need longer to its next evaluation.
        variables = {
            "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS),
            "COLUMNS": str(shutil.get_terminal_size().columns),
        }
        with _reached(self.address):
            submitted: str = self._client.submit_job(
                entrypoint=command,
                submission_id=id,
                metadata=metadata,
                runtime_env={"working_dir": str(folder), "env_vars": variables},
            )
            return submitted


@contextlib.contextmanager
def packed(files: Mapping[str, Path | str]) -> Iterator[Path]:
    """Makes a temporary folder with the source and the files of a job.

    Args:
        files: by path in the folder, either a text to write, or a file or folder to copy.

    Raises:
        ShippingError: the files are too large: Ray keeps them in the head's memory.
    """
    size = sum(_size(content) for content in files.values() if isinstance(content, Path))
    if size > _MOST_BYTES:
        raise ShippingError(
            f"the study's files have {size / 2**20:.0f} MiB, but at most {_MOST_BYTES // 2**20} MiB can be sent with a job: "
            "put them on the cluster's shared file system, and give their absolute paths there"
        )
    with tempfile.TemporaryDirectory(prefix="promptfront-") as name:
        folder = Path(name)
        for package in _PACKAGES:
            shutil.copytree(
                _SOURCE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                target.write_text(content, encoding="utf-8")
            elif content.is_dir():
                shutil.copytree(content, target)
            else:
                shutil.copyfile(content, target)
        yield folder


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _job(details: JobDetails) -> Job:
    return Job(details.submission_id or "", details.status.value, details.status.is_terminal())


def _number(details: JobDetails) -> int:
    found = re.search(r"-(\d+)$", details.submission_id or "")
    return int(found[1]) if found else 0


def _printed(log: str) -> str:
    """A job's log without the lines that Ray writes before the command's output."""
    before, started, rest = log.partition(_STARTED)
    return rest.partition("\n")[2] if started else before


@contextlib.contextmanager
def _no_other_address() -> Iterator[None]:
    """Hides Ray's variables, which would override the given address."""
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def _reached(address: str) -> Iterator[None]:
    """Turns errors of Ray's client into plain messages."""
    try:
        yield
    except AuthenticationError as error:
        wrong = "failed" in error.message.partition(":")[0]
        raise ClusterError(
            f"the cluster at {address} {'refuses the token' if wrong else 'needs a token'}: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
        ) from error
    except (OSError, requests.RequestException) as error:
        raise ClusterError(
            f"no Ray dashboard answers at {address}. Check that the cluster is running, and that its port 8265 is "
            "forwarded to this machine (ray dashboard, ssh -L, kubectl port-forward)"
        ) from error
    except RuntimeError as error:
        raise ClusterError(f"the cluster at {address}: {error}") from error
