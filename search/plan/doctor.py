"""What a maintainer would ask for first, of this machine and its installation, in about ten lines."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import torch

from search.plan import memory, resources

_PACKAGES = ("ray", "optuna", "mlflow", "transformers", "datasets", "peft")
_PORTS = {5000: "MLflow", 8265: "Ray's dashboard and jobs", 6379: "Ray's GCS"}
_ENOUGH_FILES = 4096
_ENOUGH_SHARED = 2**30
_SHARED = Path("/dev/shm")
_DATABASES = ("optuna.db", "mlflow.db")


def report(folder: Path) -> list[tuple[str, str]]:
    """Pairs of a name and a text.

    Args:
        folder: the folder that holds the studies; it need not exist.
    """
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    disk = shutil.disk_usage(place)
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    odd = list(_odd(place))
    return [
        (
            "promptfront",
            f"{_version('promptfront')} on Python {platform.python_version()}, {platform.platform()}",
        ),
        ("packages", versions),
        ("torch", f"{torch.__version__}, {_devices()}"),
        ("cores", f"{resources.of_this_machine()['CPU']:g} of {os.cpu_count()} may be used"),
        ("memory", _memory()),
        ("disk", f"{memory.gigabytes(disk.free)} of {memory.gigabytes(disk.total)} free at {place}"),
        ("Ray", _ray()),
        ("stores", _stores(folder)),
        ("ports", ", ".join(f"{port} ({what}) {_port(port)}" for port, what in _PORTS.items())),
        ("odd", "; ".join(odd) or "nothing"),
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "is not installed"


def _devices() -> str:
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    return f"{build}, {names or 'no GPU'}"


def _memory() -> str:
    who = memory.largest_other()
    text = f"{memory.gigabytes(memory.free())} of {memory.gigabytes(memory.total())} free for trials"
    return f"{text}; {who}" if who else text


def _ray() -> str:
    address, token = os.environ.get("RAY_ADDRESS"), os.environ.get("RAY_AUTH_MODE")
    where = f"RAY_ADDRESS is {address}" if address else "is started on this machine by each launch"
    return f"{where}; RAY_AUTH_MODE is {token or 'not set'}"


def _stores(folder: Path) -> str:
    found = []
    for name in _DATABASES:
        path = folder / name
        size = memory.gigabytes(path.stat().st_size) if path.exists() else "is not there yet"
        found.append(
            f"{path} {size}" + ("" if not path.exists() or os.access(path, os.W_OK) else ", read-only")
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return "; ".join([*found, "MLFLOW_TRACKING_URI is set" if uri else "MLFLOW_TRACKING_URI is not set"])


def _port(port: int) -> str:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return "in use" if probe.connect_ex(("127.0.0.1", port)) == 0 else "free"


def _odd(place: Path) -> Iterator[str]:
    """Yields what often makes studies slow or fail."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < _ENOUGH_FILES:
        yield f"only {files} files may be open (ulimit -n {_ENOUGH_FILES})"
    if _SHARED.exists() and shutil.disk_usage(_SHARED).total < _ENOUGH_SHARED:
        yield f"{_SHARED} has {memory.gigabytes(shutil.disk_usage(_SHARED).total)}, so Ray's objects go to the disk"
    if not os.access(place, os.W_OK):
        yield f"{place} cannot be written to"
    if (load := os.getloadavg()[0]) > 2 * (os.cpu_count() or 1):
        yield f"the load is {load:.0f} on {os.cpu_count()} cores"
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE"):
        if name in os.environ:
            yield f"{name} is {os.environ[name]!r}"
