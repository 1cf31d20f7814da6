"""The log of the libraries that a launch uses: a file of the study, so that the terminal shows only what we say."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

NAME = "launch.log"
_LIBRARIES = ("ray", "mlflow", "alembic", "optuna")


class _Log(logging.FileHandler):
    """A log that a full disk does not make an error of the study's."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """Sends what the libraries log, warnings and worse, to `launch.log` in a study's folder."""
    handler = _Log(folder / NAME, encoding="utf-8", delay=True)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()
