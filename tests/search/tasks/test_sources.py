"""Data: files of each format, the user's own Python file, and rows drawn by a seed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from search.config.task_config import DataConfig
from search.errors import StudyFileError
from search.tasks import sources, splits

ROWS = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(6)]
COLUMNS = {"text": "text", "label": "label"}


def read(config: DataConfig, split: str = "train", columns: dict[str, str] = COLUMNS) -> sources.Table:
    return sources.open_source(config).read(split, columns, "data.train_split")


def own_file(folder: Path, body: str) -> DataConfig:
    """A data file of the user's own."""
    path = folder / "rows.py"
    path.write_text(body)
    return DataConfig(path=str(path))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The same rows in each format."""
    import pandas as pd

    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.json").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return {name: str(tmp_path / f"rows.{name}") for name in ("csv", "parquet", "json")}


@pytest.mark.parametrize("name", ["csv", "parquet", "json"])
def test_file_formats(files: dict[str, str], name: str) -> None:
    table = read(DataConfig(path=name, data_files={"train": files[name]}))
    assert table.columns == {"text": [r["text"] for r in ROWS], "label": [r["label"] for r in ROWS]}
    assert len(table) == 6


def test_own_python_file(tmp_path: Path) -> None:
    body = f"from dataclasses import dataclass\n@dataclass\nclass A:\n  x: int\ndef splits(): return {{'train': {ROWS}}}"
    assert read(own_file(tmp_path, body)).columns["label"] == list("ababab")


def test_only_the_split_that_is_asked_for_is_read(files: dict[str, str], tmp_path: Path) -> None:
    config = DataConfig(path="csv", data_files={"train": files["csv"], "test": str(tmp_path / "none.csv")})
    assert len(read(config)) == 6
    with pytest.raises(StudyFileError, match=r"data.data_files.test: there is no file .*none.csv"):
        read(config, "test")


def test_words_that_pandas_takes_for_missing_are_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nNA,None\nnull,nan\n")
    table = read(DataConfig(path="csv", data_files={"train": str(path)}))
    assert table.columns == {"text": ["NA", "null"], "label": ["None", "nan"]}


def test_class_names_are_kept(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["x", "y"])}
    )
    rows = {"text": ["a", "b"], "label": [1, 0]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    table = read(DataConfig(path="parquet", data_files={"train": str(tmp_path / "rows.parquet")}))
    assert table.class_names == {"label": ("x", "y")}
    assert table.columns["label"] == [1, 0]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = 1", "must define a function splits"),
        ("def splits(): return 1/0", "failed: ZeroDivisionError"),
        ("def splits(", "failed: SyntaxError"),
        ("def splits(): return [1]", "must return"),
        ("def splits(): return {'train': [1]}", "row 0 of 'train' is a int"),
        ("def splits(): return {'train': []}", "split 'train' has no rows"),
        ("def splits(): return {'trian': [{}]}", "no split 'train'; did you mean trian?; there are: trian"),
        (
            "def splits(): return {'train': [{'txt': 'a', 'label': 1}]}",
            "text: no column 'text'.*did you mean txt?",
        ),
    ],
)
def test_own_file_mistakes(tmp_path: Path, body: str, expected: str) -> None:
    with pytest.raises(StudyFileError, match=expected.replace("?", r"\?")):
        read(own_file(tmp_path, body))


def test_file_mistakes(files: dict[str, str], tmp_path: Path) -> None:
    csv = DataConfig(path="csv", data_files={"train": files["csv"]})
    with pytest.raises(StudyFileError, match=r"label: no column 'lable'.*did you mean label\?.*text, label"):
        read(csv, columns={"lable": "label"})
    with pytest.raises(StudyFileError, match="no split 'dev'; there are: train"):
        read(csv, "dev")
    with pytest.raises(StudyFileError, match="no file"):
        read(DataConfig(path=str(tmp_path / "none.py")))
    broken = tmp_path / "broken.csv"
    broken.write_text('a,b\n"1,2\n3,4,5\n')
    with pytest.raises(
        StudyFileError, match=r"data\.data_files\.train: datasets cannot load .*broken.csv as 'csv'"
    ):
        read(DataConfig(path="csv", data_files={"train": str(broken)}))
    for content in ("", "text,label\n"):
        broken.write_text(content)
        with pytest.raises(StudyFileError, match=r"data\.data_files\.train: .*broken.csv has no rows"):
            read(DataConfig(path="csv", data_files={"train": str(broken)}))


def test_a_folder_and_a_wrong_split_in_it(files: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv").write_text(Path(files["csv"]).read_text())
    config = DataConfig(path=str(folder))
    assert len(read(config)) == 6
    with pytest.raises(StudyFileError, match="no split 'dev'; there are: train"):
        read(config, "dev")


def test_unknown_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(StudyFileError, match=r"data\.path: datasets cannot load"):
        read(DataConfig(path=str(tmp_path / "nothing")))


def test_count_reads_no_value(files: dict[str, str]) -> None:
    source = sources.open_source(DataConfig(path="csv", data_files={"train": files["csv"]}))
    assert source.count("train", COLUMNS, "data.train_split") == 6


def test_the_order_depends_on_seed_and_names_only() -> None:
    order = splits.seeded_order(50, 3, "task", "train")
    assert order == splits.seeded_order(50, 3, "task", "train")
    assert sorted(order) == list(range(50))
    assert order != splits.seeded_order(50, 4, "task", "train")
    assert order != splits.seeded_order(50, 3, "task", "test")
    assert order != splits.seeded_order(50, 3, "other", "train")


def test_take_draws_per_class_and_smaller_draws_are_within_larger_ones() -> None:
    classes = [i % 3 for i in range(60)]
    order = splits.seeded_order(60, 0, "t")
    few, more = splits.take(order, classes, 4, None), splits.take(order, classes, 8, None)
    assert Counter(classes[row] for row in few) == {0: 4, 1: 4, 2: 4}
    assert set(few) < set(more)
    assert few == sorted(few)
    assert len(splits.take(order, classes, None, 10)) == 10
    assert splits.take(order, classes, None, None) == list(range(60))


def test_cut_keeps_the_classes_shares() -> None:
    classes: list[Any] = ["a"] * 40 + ["b"] * 10 + ["c"]
    stays, off = splits.cut(splits.seeded_order(51, 0), classes, 0.2)
    assert sorted(stays + off) == list(range(51))
    assert Counter(classes[row] for row in off) == {"a": 8, "b": 2}


def test_fingerprint_tells_rows_apart() -> None:
    assert sources.fingerprint([("a", "b")]) != sources.fingerprint([("ab", "")])
    assert sources.fingerprint([("a",), ("b",)]) != sources.fingerprint([("b",), ("a",)])
