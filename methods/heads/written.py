"""Tokens of texts that are given and of texts, or of a word, that are written after them or in them.

A decoder sees both as one text: the target begins with a blank where the tokenizer would otherwise glue the two together.
Of an encoder-decoder each is a text of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.backbone.shape import Architecture


class WrittenError(ValueError):
    """A text cannot be laid out in tokens; the message says why, and begins with the field."""


def source(
    tokenizer: Any, text: str, max_length: int, max_target_length: int, architecture: Architecture
) -> tuple[list[int], bool]:
    """Tokens of a given text, with special tokens, cut at its end, and whether it is whole.

    Args:
        tokenizer: of the model.
        text: that is given.
        max_length: tokens of the longest text; of a decoder this includes what is written.
        max_target_length: tokens that may be written.
        architecture: of the model.

    Raises:
        WrittenError: nothing is left for the text, or it has no token.
    """
    room = max_length - max_target_length if architecture == "decoder" else max_length
    if room < 1:
        raise WrittenError(
            f"max_target_length: must be below model.max_length ({max_length}), which a decoder's source and target share, "
            f"not {max_target_length}"
        )
    ids = tokenizer(text)["input_ids"]
    if architecture == "decoder" and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]  # the text goes on
    if not ids:
        raise WrittenError(f"source: the tokenizer makes no token of {text!r}")
    return ids[:room], len(ids) <= room


def target(
    tokenizer: Any, given: str, text: str, max_target_length: int, architecture: Architecture
) -> tuple[list[int], bool]:
    """Tokens of a text to be written after a given one, with the token that ends it, and whether it is whole.

    Raises:
        WrittenError: the tokenizer has no token that ends a text.
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
    """The token by which a word begins, within a text."""
    return _plain(tokenizer, f" {text}" if _glues(tokenizer) else text)[0]


def scored(tokenizer: Any, text: str, max_length: int, architecture: Architecture) -> tuple[list[int], int]:
    """Tokens of a text, with special tokens, in or after which a word is scored, and the position of its score.

    A text that is too long is cut at the end that is farther from there.

    Args:
        tokenizer: of the model.
        text: that ends where the word shall follow, or, for an encoder, has the mask token once.
        max_length: tokens of the longest text, special tokens included.
        architecture: of the model.

    Raises:
        WrittenError: there is not one mask token, or the model scores no words in a text.
    """
    if architecture == "encoder-decoder":
        raise WrittenError(
            "verbalizer: needs a masked language model (BERT, RoBERTa) or a decoder (GPT-2, Llama); the model is an "
            "encoder-decoder"
        )
    ids: list[int] = tokenizer(text)["input_ids"]
    if architecture == "decoder" and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]  # the text goes on
    mask = tokenizer.mask_token_id if architecture == "encoder" else None
    if architecture == "encoder" and (mask is None or ids.count(mask) != 1):
        raise WrittenError(
            f"text: must have the model's mask token, {tokenizer.mask_token}, once where a verbalizer's word is scored; "
            f"got {text!r}"
        )
    if not ids:
        raise WrittenError(f"text: the tokenizer makes no token of {text!r}")
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
    """Whether two words that are tokenized apart come out as one."""
    ids = [*_plain(tokenizer, "one"), *_plain(tokenizer, "two")]
    return " " not in str(tokenizer.decode(ids)).strip()


def _plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
