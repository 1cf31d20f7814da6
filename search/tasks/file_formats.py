"""Files of formats that `datasets` has no reader for: CoNLL's columns and SQuAD's nested json, as rows.

CoNLL: a word and its tag on a line, parted by tabs or blanks (what stands between them is left out), an empty line after
each sentence; lines that begin with -DOCSTART- are left out. Columns `words` and `tags`.

SQuAD: {"data": [{"paragraphs": [{"context": ..., "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}.
Columns `id`, `question`, `context` and `answers` ({"text": [...], "answer_start": [...]}), as on the hub. A row per line
(`{"question": ..., "context": ..., "answers": {...}}`) is `json`, not this.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from search.errors import StudyFileError

Row = dict[str, Any]


def read(file_format: str, file: str, field: str) -> list[Row]:
    """The rows of a file.

    Args:
        file_format: "conll" or "squad".
        file: its path.
        field: the place in the study file that names it, for messages.

    Raises:
        StudyFileError: there is no such file, or its content is not of the format; the message names the line.
    """
    path = Path(file)
    if not path.is_file():
        raise StudyFileError(f"{field}: no file {file}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"{field}: cannot read {file}: {error}") from error
    return _conll(text, file, field) if file_format == "conll" else _squad(text, file, field)


def _conll(text: str, file: str, field: str) -> list[Row]:
    rows: list[Row] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):  # splitlines() breaks within words
        line = line.rstrip("\r")
        if line.strip() and not line.startswith("-DOCSTART-"):
            # A tab parts exactly: a word may be a character that split() takes for a blank.
            parts = line.split("\t") if "\t" in line else line.split(" ")
            parts = [part for part in parts if part]
            if len(parts) < 2:
                raise StudyFileError(
                    f"{field}: line {number} of {file} must be a word and its tag, not {line!r}"
                )
            words.append(parts[0])
            tags.append(parts[-1])
        elif words:
            rows.append({"words": words, "tags": tags})
            words, tags = [], []
    return rows


def _squad(text: str, file: str, field: str) -> list[Row]:
    try:
        articles = json.loads(text)["data"]
        return [
            {
                "id": question["id"],
                "question": question["question"],
                "context": paragraph["context"],
                "answers": {
                    "text": [answer["text"] for answer in question["answers"]],
                    "answer_start": [answer["answer_start"] for answer in question["answers"]],
                },
            }
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise StudyFileError(
            f"{field}: {file} is not SQuAD's json, data > paragraphs > qas: {type(error).__name__}: {error}"
        ) from error
