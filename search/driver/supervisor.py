"""Runs a launch in a process of its own, so that a launch outlives the Ray that it started.

Ray's C++ part ends its driver when it loses its own servers, without a word; a signal to the whole group (`timeout`, systemd, Slurm,
a terminal that closes) ends these servers before the driver has stopped. So the command that the user sees only watches: the
driver and its Ray have a session of their own, signals are passed to the driver alone, and if the driver dies, or says that its
Ray has died, what is left of the session is ended and the launch goes on from the storage.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from search.errors import StorageError

SUPERVISED = "PROMPTFRONT_SUPERVISED"
"""Environment variable that a supervised process finds, with the number of its start."""
RAY_IS_GONE = 75
"""Exit code of a launch whose local Ray has died (EX_TEMPFAIL of sysexits.h)."""
STARTS = 3
_DIED = {-number for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGKILL, signal.SIGSEGV)}
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_ENDING_SECONDS = 5


def supervised() -> bool:
    """Whether this process is watched."""
    return SUPERVISED in os.environ


def run(arguments: list[str], console: Console) -> int:
    """Runs the command line with these arguments, again if it dies, and returns its exit code."""
    console.print("Starting ...", highlight=False)  # the libraries take seconds to import
    for start in range(1, STARTS + 1):
        process = subprocess.Popen(
            # -P: a folder `search` where the user stands is not ours
            [sys.executable, "-P", "-m", "search.cli", *arguments],
            env=os.environ | {SUPERVISED: str(start), "PYTHONPATH": _importable()},
            start_new_session=True,
        )
        with _passing_signals(process) as asked_to_stop:
            code = process.wait()
        _end_session(process.pid)
        if asked_to_stop or not (code == RAY_IS_GONE or code in _DIED):
            break
        why = (
            "Ray has died" if code == RAY_IS_GONE else f"the driver was ended by {signal.Signals(-code).name}"
        )
        more = f"; starting again ({start + 1} of {STARTS})" if start < STARTS else ""
        console.print(f"[yellow]warning:[/] {why}{more}", highlight=False)
    if code == RAY_IS_GONE or code in _DIED:
        console.print("Nothing is lost: launch again to continue.", highlight=False)
        return StorageError.exit_code
    return code if code >= 0 else 128 - code


def _importable() -> str:
    """PYTHONPATH, with the folder of this package first where it is not installed."""
    path = str(Path(__file__).resolve().parents[2])
    mine = None if path in site.getsitepackages() else path
    return os.pathsep.join(filter(None, [mine, os.environ.get("PYTHONPATH")]))


def ray_is_gone() -> None:
    """Ends this process at once, to be started again: nothing of Ray can be called any more, and the storage has everything."""
    os._exit(RAY_IS_GONE)


def die_with_supervisor() -> None:
    """Makes this process end at once when the one that watches it does; only Linux can."""
    if supervised() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def _passing_signals(process: subprocess.Popen[Any]) -> Iterator[list[int]]:
    """Passes signals to the process, a closing terminal's as SIGTERM; yields a list of those that came."""
    came: list[int] = []

    def handle(number: int, frame: Any) -> None:
        came.append(number)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

    before = {number: signal.signal(number, handle) for number in _ENDING}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_session(session: int) -> None:
    """Ends what is left of a session, and waits until it is gone."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=_ENDING_SECONDS)
