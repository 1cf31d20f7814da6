"""Tokenizes words, and finds each word's first token, for tasks that label words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class WordsError(ValueError):
    """The tokenizer does not give the word of each token."""


def encode(
    tokenizer: Any, rows: Sequence[Sequence[str]], max_length: int
) -> list[tuple[list[int], list[int | None]]]:
    """Tokenizes each row's words, joined by spaces and cut to max_length, and finds each word's first token.

    Tokens are found by their characters in the joined text, so it does not matter how a tokenizer marks the beginning
    of a word.

    Returns:
        For each row its token ids and the position of each word's first token; None for a word that was cut off or
        that has no token.

    Raises:
        WordsError: the tokenizer does not give the characters of its tokens (only those of the tokenizers library do).
    """
    if not getattr(tokenizer, "is_fast", False):
        raise WordsError("the model's tokenizer does not give the word of each token; choose another model")
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
    """Whether a token has no characters in the text, as special tokens."""
    return offset[0] == offset[1]
