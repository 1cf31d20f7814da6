"""Spans of a context that answer a question: windows of tokens, and the best span among their scores.

A context that is too long is cut into windows that overlap, each with the whole question (Devlin et al., 2019,
"BERT", section 4.2). A window reads its first token, which stands for "no answer here", and every token of the context;
an answer is two of these places, a start and an end. In a causal model the first token sees nothing of the text: what is
read there is a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class SpansError(ValueError):
    """A question or context cannot be cut into windows; the message says why, and begins with the field."""


@dataclass(frozen=True)
class Window:
    """A part of a context, with its question, in tokens.

    Attributes:
        question: number of the question it belongs to.
        input_ids: token ids, with special tokens.
        token_type_ids: 0 or 1 for each token, or None where the tokenizer makes none.
        read: positions in input_ids of the places: of "no answer here", then of the context's tokens.
        spans: characters of the context `[start, end)` of each place; (0, 0) of the first.
    """

    question: int
    input_ids: list[int]
    token_type_ids: list[int] | None
    read: list[int]
    spans: list[tuple[int, int]]

    def places(self, start: int, end: int) -> tuple[int, int]:
        """The places of the first and the last token of characters `[start, end)`; (0, 0) where they are not all here."""
        inside = [at for at, (a, b) in enumerate(self.spans) if at and b > start and a < end]
        if not inside or self.spans[inside[0]][0] > start or self.spans[inside[-1]][1] < end:
            return 0, 0
        return inside[0], inside[-1]


def windows(
    tokenizer: Any,
    questions: Sequence[str],
    contexts: Sequence[str],
    *,
    max_length: int,
    doc_stride: int,
) -> list[Window]:
    """Cuts contexts into windows, in the order of the questions.

    Args:
        tokenizer: of the model.
        questions: one for each context.
        contexts: in which the answers are.
        max_length: tokens of a window, question and special tokens included.
        doc_stride: tokens of the context that neighbouring windows share.

    Raises:
        SpansError: the tokenizer keeps no places, or a question leaves no room for its context.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise SpansError(
            "context: the model's tokenizer does not say which characters a token is; choose another model"
        )
    longest = max(map(len, tokenizer(list(questions), add_special_tokens=False)["input_ids"]), default=0)
    most = max_length - doc_stride - tokenizer.num_special_tokens_to_add(pair=True) - 1
    if longest > most:
        raise SpansError(
            f"question: must be at most {most} tokens, which is model.max_length ({max_length}) less doc_stride "
            f"({doc_stride}) and special tokens; one has {longest}. Raise model.max_length or lower doc_stride"
        )
    encoded = tokenizer(
        list(questions),
        list(contexts),
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    types = encoded.get("token_type_ids")
    found = []
    for number, question in enumerate(encoded["overflow_to_sample_mapping"]):
        ids, offsets = encoded["input_ids"][number], encoded["offset_mapping"][number]
        # A token without characters (of a blank, of a tokenizer's own mark) can be no end of an answer.
        inside = [
            at
            for at, part in enumerate(encoded.sequence_ids(number))
            if part == 1 and offsets[at][0] < offsets[at][1]
        ]
        found.append(
            Window(
                question=question,
                input_ids=ids,
                token_type_ids=types[number] if types and any(types[number]) else None,
                read=[0, *inside],
                spans=[(0, 0), *(tuple(offsets[at]) for at in inside)],
            )
        )
    return found


@dataclass(frozen=True)
class Answer:
    """A window's best span.

    Attributes:
        score: logit of its start plus that of its end.
        null: that of "no answer here".
        start, end: characters of the context; equal where the window has no place for an answer.
    """

    score: float
    null: float
    start: int
    end: int


def best(window: Window, logits_X2: Tensor, max_answer_length: int) -> Answer:
    """The best span of at most so many tokens.

    Args:
        window: whose places were read.
        logits_X2: `[places, 2]` float, of being the start and the end.
        max_answer_length: tokens.
    """
    null = float(logits_X2[0].sum())
    starts, ends = logits_X2[1:, 0], logits_X2[1:, 1]
    count = len(starts)
    if count == 0:
        return Answer(-torch.inf, null, 0, 0)
    allowed = torch.ones(count, count, dtype=torch.bool).triu().tril(max_answer_length - 1)
    both = (starts[:, None] + ends[None, :]).masked_fill(~allowed, -torch.inf)
    first, last = divmod(int(both.argmax()), count)
    return Answer(float(both[first, last]), null, window.spans[1 + first][0], window.spans[1 + last][1])


def answers(
    found: Sequence[Window],
    logits: Sequence[Tensor],
    contexts: Sequence[str],
    *,
    max_answer_length: int,
    unanswerable: bool,
) -> list[str]:
    """The answer to each question: the best span over its windows, as it stands in the context.

    Args:
        found: all windows of the questions.
        logits: of each window, `[places, 2]`.
        contexts: of the questions.
        max_answer_length: tokens.
        unanswerable: whether "no answer" is one, the empty text: where every window prefers it to its best span (Rajpurkar
            et al., 2018, "Know what you don't know"; threshold 0).
    """
    spans: list[Answer | None] = [None] * len(contexts)
    nulls = [torch.inf] * len(contexts)
    for window, logits_X2 in zip(found, logits, strict=True):
        answer, at = best(window, logits_X2, max_answer_length), window.question
        nulls[at] = min(nulls[at], answer.null)
        before = spans[at]
        if before is None or answer.score > before.score:
            spans[at] = answer
    texts = []
    for context, span, null in zip(contexts, spans, nulls, strict=True):
        nothing = span is None or (unanswerable and null >= span.score)
        texts.append("" if nothing or span is None else context[span.start : span.end])
    return texts
