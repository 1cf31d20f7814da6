"""Files that datasets has no reader for: CoNLL's columns, SQuAD's json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search.config.task_config import DataConfig
from search.errors import StudyFileError
from search.tasks import sources

CONLL = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nPeter\tNNP\tB-PER\r\na\u2028b\tX\tO\n"


def source(tmp_path: Path, file_format: str, content: str) -> sources.Source:
    file = tmp_path / "train.file"
    file.write_text(content, encoding="utf-8", newline="")
    return sources.open_source(DataConfig(path=file_format, data_files={"train": str(file)}))


def read(tmp_path: Path, file_format: str, content: str, *columns: str) -> sources.Table:
    asked = dict.fromkeys(columns, "text")
    return source(tmp_path, file_format, content).read("train", asked, "data.train_split")


def test_conll_has_words_and_their_last_column(tmp_path: Path) -> None:
    table = read(tmp_path, "conll", CONLL, "words", "tags")
    assert table.columns["words"] == [["EU", "rejects"], ["Peter", "a\u2028b"]]
    assert table.columns["tags"] == [["B-ORG", "O"], ["B-PER", "O"]]


def squad() -> dict[str, Any]:
    answers = [{"text": "Ann", "answer_start": 3}, {"text": "Ann Lee", "answer_start": 3}]
    questions = [
        {"id": "1", "question": "Who?", "answers": answers},
        {"id": "2", "question": "When?", "answers": [], "is_impossible": True},
    ]
    return {"version": "2", "data": [{"paragraphs": [{"context": "By Ann Lee.", "qas": questions}]}]}


def test_squad_is_a_row_for_each_question(tmp_path: Path) -> None:
    table = read(tmp_path, "squad", json.dumps(squad()), "id", "question", "context", "answers")
    assert table.columns["id"] == ["1", "2"]
    assert table.columns["context"] == ["By Ann Lee."] * 2
    assert table.columns["answers"] == [
        {"text": ["Ann", "Ann Lee"], "answer_start": [3, 3]},
        {"text": [], "answer_start": []},
    ]


@pytest.mark.parametrize(
    ("file_format", "content", "message"),
    [
        (
            "conll",
            "EU B-ORG\nrejects\n",
            r"data.data_files.train: line 2 of .* must be a word and its tag, not 'rejects'",
        ),
        ("conll", "\n\n", "has no rows"),
        ("squad", '{"data": [{"paragraphs": [{}]}]}', "is not SQuAD's JSON .*'qas'"),
        ("squad", "[", "is not SQuAD's JSON"),
    ],
)
def test_what_is_not_of_the_format(file_format: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=message):
        read(tmp_path, file_format, content, "words")


def test_columns_splits_and_files_that_are_not_there(tmp_path: Path) -> None:
    found = source(tmp_path, "conll", CONLL)
    with pytest.raises(StudyFileError, match=r"no column 'word'.*did you mean words"):
        found.read("train", {"word": "text"}, "data.train_split")
    with pytest.raises(StudyFileError, match=r"data.test_split: no split 'test'"):
        found.count("test", {"words": "text"}, "data.test_split")
    (tmp_path / "train.file").unlink()
    with pytest.raises(StudyFileError, match=r"data.data_files.train: there is no file"):
        found.count("train", {"words": "text"}, "data.train_split")
