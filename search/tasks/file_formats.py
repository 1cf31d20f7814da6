"""Reads formats that `datasets` cannot read: CoNLL's columns and SQuAD's nested JSON.

CoNLL: each line has a word and its tag, separated by tabs or spaces (columns between them are ignored), and an empty
line follows each sentence. Lines that begin with -DOCSTART- are ignored. The result has columns `words` and `tags`.

SQuAD: {"data": [{"paragraphs": [{"context": ..., "qas": [{"id", "question", "answers": [{"text",
"answer_start"}]}]}]}]}. The result has columns `id`, `question`, `context` and `answers` ({"text": [...],
"answer_start": [...]}), as on the hub. A file with one row per line (`{"question": ..., "context": ..., "answers":
{...}}`) has the format `json` instead.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from search.errors import StudyFileError

Row = dict[str, Any]


def read(file_format: str, file: str, field: str) -> list[Row]:
    """Reads the rows of a file.

    Args:
        file_format: "conll" or "squad".
        file: the file's path.
        field: the place in the study file that names it, for messages.

    Raises:
        StudyFileError: there is no such file, or it does not have this format (for CoNLL, the message names the line).
    """
    path = Path(file)
    if not path.is_file():
        raise StudyFileError(f"{field}: there is no file {file}")
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
            # split() would also split at characters that are words, so split only at tabs or spaces.
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
            f"{field}: {file} is not SQuAD's JSON (data > paragraphs > qas): {type(error).__name__}: {error}"
        ) from error
