"""Handles Ctrl-C and SIGTERM, which ask a launch to stop cleanly."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from clusters.connect import cancel_alarm


@contextlib.contextmanager
def handling_signals() -> Iterator[threading.Event]:
    """Sets an event on the first Ctrl-C or SIGTERM; a second Ctrl-C stops at once."""
    interrupted = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    install_handlers(interrupted)
    try:
        yield interrupted
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def install_handlers(interrupted: threading.Event) -> None:
    """Makes signals set `interrupted`; does nothing outside the main thread, which alone can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        return

    def handle(number: int, frame: Any) -> None:
        cancel_alarm()
        if interrupted.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupted.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
