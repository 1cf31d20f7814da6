"""What a job prints comes back as the files it was."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from base64 import encodebytes
from pathlib import Path

import pytest

from clusters import parcel


def test_a_folder_comes_back_from_among_what_was_printed(tmp_path: Path) -> None:
    (tmp_path / "there" / "inside").mkdir(parents=True)
    (tmp_path / "there" / "inside" / "bytes").write_bytes(bytes(range(256)))
    printed = "before\n" + parcel.pack(tmp_path / "there") + "after\n"
    text, content = parcel.split(printed)
    assert text == "before\nafter\n"
    assert content is not None
    parcel.unpack(content, tmp_path / "here")
    assert (tmp_path / "here" / "inside" / "bytes").read_bytes() == bytes(range(256))


def test_nothing_is_found_where_nothing_was_sent() -> None:
    assert parcel.split("only text\n") == ("only text\n", None)


def test_a_database_in_use_comes_whole(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table runs (name text)")
        connection.execute("insert into runs values ('one')")
        connection.commit()  # still in the write-ahead log, which is another file
        _, content = parcel.split(parcel.pack(tmp_path / "runs.db"))
    assert content is not None
    parcel.unpack(content, tmp_path / "here")
    with sqlite3.connect(tmp_path / "here" / "runs.db") as copy:
        assert copy.execute("select name from runs").fetchall() == [("one",)]


def test_a_parcel_cannot_write_elsewhere(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(tarfile.OutsideDestinationError):
        parcel.unpack(encodebytes(stream.getvalue()).decode(), tmp_path / "here")
    assert not (tmp_path / "outside").exists()
