"""Packs files as text that a job can print, since Ray Jobs returns only a job's output and no files."""

from __future__ import annotations

import base64
import contextlib
import io
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

_BEGIN, _END = "-----BEGIN PROMPTFRONT FILES-----", "-----END PROMPTFRONT FILES-----"
_MOST_BYTES = 64 * 2**20


def pack(path: Path) -> str:
    """Packs a folder's files, or one file, as text; a SQLite database in use is copied consistently.

    Raises:
        ValueError: the files are too large.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        if path.is_dir():
            archive.add(path, arcname=".")
        else:
            with _at_rest(path) as file:
                archive.add(file, arcname=path.name)
    content = stream.getvalue()
    if len(content) > _MOST_BYTES:
        raise ValueError(
            f"{path} has {len(content) / 2**20:.0f} MiB, but at most {_MOST_BYTES // 2**20} MiB can be fetched through Ray "
            "Jobs. It is kept on the cluster; copy it from there by other means"
        )
    return f"{_BEGIN}\n{base64.encodebytes(content).decode()}{_END}\n"


@contextlib.contextmanager
def _at_rest(path: Path) -> Iterator[Path]:
    with path.open("rb") as file:
        database = file.read(16) == b"SQLite format 3\0"
    if not database:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        yield copy


def split(printed: str) -> tuple[str, str | None]:
    """Splits a job's output into the printed text and the parcel, or None if there is none."""
    text, begin, rest = printed.partition(_BEGIN)
    parcel, end, after = rest.partition(_END)
    return (text + after.lstrip("\n"), parcel) if begin and end else (printed, None)


def unpack(parcel: str, folder: Path) -> None:
    """Writes the files of a parcel to a folder; none can be written outside of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(parcel)), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")


if __name__ == "__main__":
    try:
        print(pack(Path(sys.argv[1])), end="")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
