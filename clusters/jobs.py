"""Ray Jobs: commands that run in a cluster which is reached over HTTP.

A job's working directory is the packages of this source tree, with the files given for it; it is temporary. What a job
leaves, it leaves in folders of the cluster.
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
"""Modules of Ray that print each upload."""
_STARTED = "Running entrypoint for job"
_KEY = "promptfront"


class ShippingError(Exception):
    """What was to travel with a job cannot; the message says what to do."""

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
        address: http://host:port of its dashboard.

    Raises:
        ClusterError: it cannot be reached, or refuses the token.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        for module in _TALKATIVE:
            logging.getLogger(module).setLevel(logging.WARNING)
        with _reached(address), _no_other_address():
            self._client = JobSubmissionClient(address)

    def latest(self, key: str) -> Job | None:
        """The last job that was submitted under a key, or None."""
        jobs = self._of(key)
        return _job(max(jobs, key=_number)) if jobs else None

    def submit(self, key: str, name: str, command: str, folder: Path) -> str:
        """Starts a command, and returns at once.

        Args:
            key: under which the job is found again.
            name: readable part of the submission id.
            command: for a shell; what is to hear of a stop must replace it (exec).
            folder: that becomes the working directory, as `packed` yields it.

        Returns:
            The submission id.

        Raises:
            ClusterError: the cluster cannot be reached, or has a job of this id already.
        """
        number = max((_number(job) for job in self._of(key)), default=0) + 1
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]  # the same name may be elsewhere too
        return self._submit(f"promptfront-{name}-{digest}-{number}", command, folder, {_KEY: key})

    def run(self, command: str, folder: Path) -> tuple[int, str]:
        """Runs a short command to its end: its exit code, and what it printed.

        Raises:
            ClusterError: the cluster cannot be reached, or could not start it.
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
        """What a job has printed so far."""
        with _reached(self.address):
            return _printed(self._client.get_job_logs(id))

    def follow(self, id: str, write: Callable[[str], object]) -> Job:
        """Writes what a job prints until it ends; the job, ended."""

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
        """Asks a job to stop, which it does cleanly, and waits for its end; the job, ended."""
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
        # Ray kills after three seconds what was asked to stop; a trial may need longer to its next evaluation.
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
    """A folder with the source and the files of a job.

    Args:
        files: by their path in the folder; a text, or a file or folder to copy.

    Raises:
        ShippingError: they are too many bytes for Ray to keep in the memory of the head.
    """
    size = sum(_size(content) for content in files.values() if isinstance(content, Path))
    if size > _MOST_BYTES:
        raise ShippingError(
            f"the study's own files are {size / 2**20:.0f} MiB, and at most {_MOST_BYTES // 2**20} MiB travel with a job: "
            "put them on the cluster's shared file system, and name them by their absolute path there"
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
    """A job's log without what Ray writes before the command."""
    before, started, rest = log.partition(_STARTED)
    return rest.partition("\n")[2] if started else before


@contextlib.contextmanager
def _no_other_address() -> Iterator[None]:
    """Without Ray's variables, which would go before the address that was asked for."""
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def _reached(address: str) -> Iterator[None]:
    """Errors of Ray's client in plain words."""
    try:
        yield
    except AuthenticationError as error:
        wrong = "failed" in error.message.partition(":")[0]
        raise ClusterError(
            f"the cluster at {address} {'refuses the token' if wrong else 'asks for a token'}: set RAY_AUTH_MODE=token, "
            "and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
        ) from error
    except (OSError, requests.RequestException) as error:
        raise ClusterError(
            f"no Ray dashboard answers at {address}; is the cluster up, and its port 8265 forwarded to this machine "
            "(ray dashboard, ssh -L, kubectl port-forward)?"
        ) from error
    except RuntimeError as error:
        raise ClusterError(f"the cluster at {address}: {error}") from error
