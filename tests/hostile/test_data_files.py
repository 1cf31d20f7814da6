"""Data files that are damaged or made to break something: refused in a line that names the file, or read as what they are."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from search.config.study_file import load
from search.errors import StudyFileError
from search.plan import check
from tests.search.conftest import make_rows, write_study

GOOD = "".join(json.dumps(row) + "\n" for row in make_rows("train")).encode()
REFUSED = {
    "empty.jsonl": b"",
    "empty.csv": b"",
    "header.csv": b"text,label\n",
    "zeros.jsonl": bytes(4000),
    "zeros.csv": bytes(4000),
    "noise.jsonl": bytes(range(256)) * 20,
    "noise.csv": bytes(range(256)) * 20,
    "wide.jsonl": GOOD.decode().encode("utf-16"),
    "cut.jsonl": GOOD[:-20],
    "deep.jsonl": b'{"text": ' + b"[" * 500 + b"]" * 500 + b', "label": "a"}\n',
    "list.jsonl": b"[1, 2, 3]\n",
    "numbers.jsonl": b"1\n2\n3\n",
    "html.jsonl": b"<!doctype html><title>404</title>",
    "quote.csv": b'text,label\n"never ends,a\n' + b"b,c\n" * 50,
    "pickle.jsonl": pickle.dumps({"text": ["a"], "label": ["b"]}),
    "pickle.parquet": pickle.dumps({"text": ["a"], "label": ["b"]}),
    "zeros.parquet": b"PAR1" + bytes(1000) + b"PAR1",
    "cut.parquet": b"PAR1",
    "unlabelled.jsonl": b'{"text": "a"}\n' * 40,
    "nothing.jsonl": b'{"text": null, "label": null}\n' * 40,
    "nan.jsonl": b'{"text": NaN, "label": "a"}\n' * 40,
    "nested.jsonl": b'{"text": {"a": 1}, "label": ["b"]}\n' * 40,
    "one.jsonl": b'{"text": "a", "label": "b"}\n' * 40,
}
READ = {"gzip.jsonl.gz": gzip.compress(GOOD), "windows.jsonl": GOOD.replace(b"\n", b"\r\n")}


def checked(study: dict[str, Any], name: str, folder: Path) -> None:
    kind = {"jsonl": "json", "csv": "csv", "parquet": "parquet"}[name.removesuffix(".gz").rpartition(".")[2]]
    files = {
        "train": name,
        **{s: f"{s}.{'csv' if kind == 'csv' else 'jsonl'}" for s in ("validation", "test")},
    }
    study["tasks"][0]["data"] = {"path": kind, "data_files": files, "validation_split": "validation"}
    check.check(load(write_study(study, folder)), probe=False)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.timeout(120)
def test_a_damaged_file_is_refused_by_its_name(name: str, study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(REFUSED[name])
    with pytest.raises(StudyFileError) as caught:
        checked(study, name, tmp_path)
    message = str(caught.value)
    assert "tasks.0" in message
    assert name in message or "'train'" in message
    assert len(message) < 1500


@pytest.mark.parametrize("name", READ)
def test_a_file_that_only_looks_odd_is_read(name: str, study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(READ[name])
    checked(study, name, tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop", "shut"])
@pytest.mark.timeout(60)
def test_what_is_no_file_is_refused(kind: str, study: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif os.geteuid() == 0:
        pytest.skip("root may read every file")
    else:
        path.write_bytes(GOOD)
        path.chmod(0)
    with pytest.raises(StudyFileError, match=r"tasks\.0.*(odd\.jsonl|/dev/zero)"):
        checked(study, "odd.jsonl", tmp_path)
