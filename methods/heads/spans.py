"""Finds the span of a context that answers a question: cuts contexts into windows, and chooses the best span.

A context that is too long is cut into overlapping windows, each with the whole question (Devlin et al., 2019, "BERT",
section 4.2). The head reads a window's first token, which stands for "no answer here", and every token of the context.
An answer is a pair of these places, a start and an end. In a causal model the first token does not see the text, so
its score is a constant threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class SpansError(ValueError):
    """A question or context cannot be cut into windows; the message begins with the field and says why."""


@dataclass(frozen=True)
class Window:
    """A tokenized question with a part of its context.

    Attributes:
        question: the question's number.
        input_ids: token ids with special tokens.
        token_type_ids: 0 or 1 for each token; None if the tokenizer makes none.
        read: the positions in input_ids that are read: first "no answer here", then the context's tokens.
        spans: the characters `[start, end)` of the context at each of these places; (0, 0) for the first.
    """

    question: int
    input_ids: list[int]
    token_type_ids: list[int] | None
    read: list[int]
    spans: list[tuple[int, int]]

    def places(self, start: int, end: int) -> tuple[int, int]:
        """The places of the first and last token of characters `[start, end)`; (0, 0) if not all are in the window."""
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
        tokenizer: the model's tokenizer.
        questions: the questions.
        contexts: the context of each question.
        max_length: the most tokens of a window, question and special tokens included.
        doc_stride: the tokens of the context by which neighbouring windows overlap.

    Raises:
        SpansError: the tokenizer does not give the characters of its tokens, or a question leaves no room for its
            context.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise SpansError(
            "context: the model's tokenizer does not give the characters of each token; choose another model"
        )
    longest = max(map(len, tokenizer(list(questions), add_special_tokens=False)["input_ids"]), default=0)
    most = max_length - doc_stride - tokenizer.num_special_tokens_to_add(pair=True) - 1
    if longest > most:
        raise SpansError(
            f"question: must be at most {most} tokens, which is model.max_length ({max_length}) minus doc_stride "
            f"({doc_stride}) and special tokens; the longest has {longest}. Raise model.max_length or lower doc_stride"
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
        # A token without characters (such as a space or a special mark) cannot begin or end an answer.
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
        score: the logit of its start plus the logit of its end.
        null: the same score for "no answer here".
        start, end: the answer's characters in the context; equal if the window has no place for an answer.
    """

    score: float
    null: float
    start: int
    end: int


def best(window: Window, logits_X2: Tensor, max_answer_length: int) -> Answer:
    """Finds the best span of a window.

    Args:
        window: the window.
        logits_X2: `[places, 2]` float, the scores of each place as start and as end.
        max_answer_length: the most tokens of an answer.
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
    """Answers each question with the best span over its windows, as it is in the context.

    Args:
        found: all windows of the questions.
        logits: the scores of each window, `[places, 2]`.
        contexts: the contexts of the questions.
        max_answer_length: the most tokens of an answer.
        unanswerable: whether the answer may be empty. It then is if "no answer" scores at least as high as the best
            span in every window (Rajpurkar et al., 2018, "Know what you don't know"; threshold 0).
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
