"""Connects to Ray: starts it on this machine, or joins a running cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_IMPORTABLE = str(Path(__file__).resolve().parent.parent)
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray in a job
_LOOKING_SECONDS = 120
_SHOWING_SECONDS = 10
_WATCHING_SECONDS = 1
_SERVERS = ("raylet", "gcs_server")


class ClusterError(Exception):
    """The cluster cannot be reached or does not fit; the message says what to do."""

    exit_code = 5


@contextlib.contextmanager
def connected(address: str | None, died: Callable[[], None] | None = None) -> Iterator[dict[str, float]]:
    """Connects to Ray for the length of a `with`.

    Args:
        address: `auto` or host:port joins a running cluster. None takes RAY_ADDRESS; without it, Ray is started on this
            machine, without a dashboard, and stopped at the end.
        died: called, from another thread, if the Ray that was started on this machine dies; the connected process would hang,
            or be ended by Ray within a minute.

    Yields:
        The cluster's resources: "CPU", "GPU", ...

    Raises:
        ClusterError: Ray cannot be reached.
        KeyboardInterrupt: SIGTERM arrived while connecting.
    """
    address = None if on_this_machine(address) else address or os.environ["RAY_ADDRESS"]
    if address is not None and address.startswith("ray://"):
        raise ClusterError(
            "RAY_ADDRESS must not be a ray:// address: its driver would run and write on the cluster. Submit the study "
            "through Ray Jobs instead: --address http://HOST:8265"
        )
    _log_what_ray_prints()
    with _watching(died if address is None else None):
        _init(address)
        yield ray.cluster_resources()


def _init(address: str | None) -> None:
    """Joins the cluster at `address`, or starts Ray on this machine."""
    try:
        with contextlib.nullcontext() if address else _on_loopback():
            ray.init(
                address=address or "local",
                runtime_env=_environment(),
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except AuthenticationError as error:
        raise ClusterError(
            f"the Ray cluster at {address} needs a token, or refuses the one that was sent: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
        ) from error
    except SystemExit as error:  # from here on, Ray turns SIGTERM into this
        cancel_alarm()
        raise KeyboardInterrupt from error
    except Exception as error:  # a server that does not start is a plain Exception
        what = f"reach a Ray cluster at {address}" if address else "start Ray on this machine"
        looks = "" if address else ". promptfront doctor says what is odd about it"
        raise ClusterError(f"cannot {what}: {error}{looks}") from error
    if address is None:
        _keep_token_private()


@contextlib.contextmanager
def _watching(died: Callable[[], None] | None) -> Iterator[None]:
    """Looks every second whether Ray's servers, once this process has started them, are alive; stops Ray at the end."""
    ended = threading.Event()

    def watch(died: Callable[[], None]) -> None:
        servers: dict[str, psutil.Process] = {}
        while not ended.wait(_WATCHING_SECONDS):
            if len(servers) < len(_SERVERS):  # Ray is starting
                servers |= {name: process for name, process in _children() if name in _SERVERS}
            if not all(map(_alive, servers.values())):
                died()
                return

    if died is not None:
        threading.Thread(target=watch, args=(died,), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        ray.shutdown()


def _children() -> Iterator[tuple[str, psutil.Process]]:
    """The processes that this one has started, with their names."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            yield process.name(), process


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def on_this_machine(address: str | None) -> bool:
    """Whether `connected` starts Ray on this machine."""
    return not address and not os.environ.get("RAY_ADDRESS")


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Makes a Ray that starts listen on the loopback interface alone, as Ray itself does on macOS and Windows.

    Ray reads the variable when it is imported; its servers and workers inherit it.
    """
    constants, name = ray._private.ray_constants, ray._private.ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = constants.ENABLE_RAY_CLUSTER, os.environ.get(name)
    constants.ENABLE_RAY_CLUSTER, os.environ[name] = False, "0"
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before[0]
        del os.environ[name]
        if before[1] is not None:
            os.environ[name] = before[1]


def _log_what_ray_prints() -> None:
    """Sends what Ray's servers tell every driver, such as pages about a node that is gone, into Ray's log.

    Ray prints it on the terminal, `log_to_driver=False` or not.
    """

    def log(batch: dict[str, Any], *given: Any, **named: Any) -> None:
        logging.getLogger("ray").warning("%s", "\n".join(batch["lines"]))

    ray._private.worker.print_to_stdstream = log


def _keep_token_private() -> None:
    """Takes away everybody else's right to read the token that Ray makes for clusters on this machine."""
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file():
        with contextlib.suppress(PermissionError):  # another user's home: it is not ours to keep
            token.chmod(0o600)


def cancel_alarm() -> None:
    """Cancels the alarm of Ray's SIGTERM handler, which would abort this process after 3 s."""
    signal.alarm(0)


def refuse_unshared(folder: Path) -> None:
    """Checks that every other node of the connected cluster sees this node's `folder`.

    Raises:
        ClusterError: a node does not see it, or cannot run the check.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    if not others:
        return
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder.absolute() / f".seen-{secrets.token_hex(8)}"
    marker.write_text("", encoding="utf-8")
    try:
        look = ray.remote(num_cpus=0)(_sees)
        there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in others]
        looking = [look.options(scheduling_strategy=node).remote(str(marker)) for node in there]
        seen = ray.get(looking, timeout=_LOOKING_SECONDS)
    except RayError as error:
        raise ClusterError(f"a node of the cluster cannot check whether it sees {folder}: {error}") from error
    finally:
        marker.unlink(missing_ok=True)
    unseeing = [node["NodeName"] for node, sees in zip(others, seen, strict=True) if not sees]
    if unseeing:
        raise ClusterError(
            f"{', '.join(unseeing)} cannot see {folder}, but a trial that moves to another node needs its checkpoints there. "
            "Set output_dir or tracking.checkpoints to a folder that all nodes share, or tracking.checkpoints to a URI such "
            "as s3://bucket/path"
        )


def _sees(marker: str) -> bool:
    """Whether a file exists; waits some seconds, since a shared file system may show new files late."""
    deadline = time.monotonic() + _SHOWING_SECONDS
    while not os.path.exists(marker):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _environment() -> dict[str, dict[str, str]] | None:
    """The environment in which workers find the driver's packages; in a job Ray does this itself."""
    if _JOB in os.environ:
        return None
    path = os.pathsep.join(filter(None, [_IMPORTABLE, os.environ.get("PYTHONPATH")]))
    return {"env_vars": {"PYTHONPATH": path}}
