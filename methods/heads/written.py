"""Tokenizes given texts, and the texts or words that are written after or in them.

A decoder sees both as one text, so the target begins with a space if the tokenizer would otherwise join the two. For an
encoder-decoder they are separate texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.backbone.shape import Architecture


class WrittenError(ValueError):
    """A text cannot be tokenized for writing; the message begins with the field and says why."""


def source(
    tokenizer: Any, text: str, max_length: int, max_target_length: int, architecture: Architecture
) -> tuple[list[int], bool]:
    """Tokenizes a given text with special tokens, cut at its end; also returns whether it is complete.

    Args:
        tokenizer: the model's tokenizer.
        text: the given text.
        max_length: the most tokens of a text; for a decoder this includes the written text.
        max_target_length: the most tokens that may be written.
        architecture: the model's architecture.

    Raises:
        WrittenError: no tokens are left for the text, or it has none.
    """
    room = max_length - max_target_length if architecture == "decoder" else max_length
    if room < 1:
        raise WrittenError(
            f"max_target_length: must be below model.max_length ({max_length}), not {max_target_length}: a decoder's source "
            "and target share these tokens"
        )
    ids = tokenizer(text)["input_ids"]
    if architecture == "decoder" and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]  # the text continues
    if not ids:
        raise WrittenError(f"source: the tokenizer makes no tokens from {text!r}")
    return ids[:room], len(ids) <= room


def target(
    tokenizer: Any, given: str, text: str, max_target_length: int, architecture: Architecture
) -> tuple[list[int], bool]:
    """Tokenizes a text to write after a given one, with the end token; also returns whether it is complete.

    Raises:
        WrittenError: the tokenizer has no end token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise WrittenError(
            "kind: text_generation needs a tokenizer with an end-of-text token (eos_token); the model's has none"
        )
    if architecture == "decoder":
        blank = " " if not given[-1].isspace() and _glues(tokenizer) else ""
        ids = [*_plain(tokenizer, blank + text), end]
    else:
        ids = tokenizer(text_target=text)["input_ids"]
        ids = ids if ids[-1:] == [end] else [*ids, end]
    return ids[:max_target_length], len(ids) <= max_target_length


def word(tokenizer: Any, text: str) -> int:
    """The first token of a word inside a text."""
    return _plain(tokenizer, f" {text}" if _glues(tokenizer) else text)[0]


def scored(tokenizer: Any, text: str, max_length: int, architecture: Architecture) -> tuple[list[int], int]:
    """Tokenizes a text for which a verbalizer's word is scored; also returns the position of the score.

    A text that is too long is cut at the end that is farther from this position.

    Args:
        tokenizer: the model's tokenizer.
        text: the text; for a decoder the word follows it, and for an encoder it has the mask token once.
        max_length: the most tokens of a text, special tokens included.
        architecture: the model's architecture.

    Raises:
        WrittenError: the text does not have exactly one mask token, or the model cannot score words.
    """
    if architecture == "encoder-decoder":
        raise WrittenError(
            "verbalizer: needs a masked language model (BERT, RoBERTa) or a decoder (GPT-2, Llama); this model is an "
            "encoder-decoder"
        )
    ids: list[int] = tokenizer(text)["input_ids"]
    if architecture == "decoder" and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]  # the text continues
    mask = tokenizer.mask_token_id if architecture == "encoder" else None
    if architecture == "encoder" and (mask is None or ids.count(mask) != 1):
        raise WrittenError(
            f"text: must have the model's mask token, {tokenizer.mask_token}, exactly once for a verbalizer; this text does "
            f"not: {text!r}"
        )
    if not ids:
        raise WrittenError(f"text: the tokenizer makes no tokens from {text!r}")
    place = len(ids) - 1 if mask is None else ids.index(mask)
    over = len(ids) - max_length
    if over > 0:
        special = set(tokenizer.all_special_ids) - {mask}
        head, tail = int(ids[0] in special), int(ids[-1] in special)
        if place < len(ids) // 2:
            ids = [*ids[: len(ids) - tail - over], *ids[len(ids) - tail :]]
        else:
            ids, place = [*ids[:head], *ids[head + over :]], place - over
    return ids, place


def _glues(tokenizer: Any) -> bool:
    """Whether two words that are tokenized separately are decoded as one."""
    ids = [*_plain(tokenizer, "one"), *_plain(tokenizer, "two")]
    return " " not in str(tokenizer.decode(ids)).strip()


def _plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
