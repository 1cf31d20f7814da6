"""Words in tokens: where each word's first piece is, for tasks that label words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class WordsError(ValueError):
    """The tokenizer cannot say which piece belongs to which word; the message says why."""


def encode(
    tokenizer: Any, rows: Sequence[Sequence[str]], max_length: int
) -> list[tuple[list[int], list[int | None]]]:
    """Token ids of each row's words, joined by blanks and cut to max_length, and the position of each word's first piece.

    The position is None for a word that was cut off, or of which the tokenizer makes nothing. Pieces are found by their
    place in the joined text, so it does not matter how a tokenizer marks the beginning of a word.

    Raises:
        WordsError: the tokenizer keeps no places (only those of the tokenizers library do).
    """
    if not getattr(tokenizer, "is_fast", False):
        raise WordsError(
            "the model's tokenizer does not say which piece belongs to which word; choose another model"
        )
    encoded = tokenizer(
        [" ".join(words) for words in rows],
        truncation=True,
        max_length=max_length,
        return_offsets_mapping=True,
    )
    return [
        (ids, _first_pieces(words, offsets))
        for words, ids, offsets in zip(rows, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def _first_pieces(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[int | None]:
    found: list[int | None] = []
    position = start = 0
    for word in words:
        end = start + len(word)
        while position < len(offsets) and (offsets[position][1] <= start or _is_empty(offsets[position])):
            position += 1
        here = position < len(offsets) and offsets[position][0] < end
        found.append(position if here else None)
        start = end + 1
    return found


def _is_empty(offset: tuple[int, int]) -> bool:
    """A special token has no place in the text."""
    return offset[0] == offset[1]
