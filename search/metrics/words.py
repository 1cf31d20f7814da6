"""Metrics of the words of sentences: accuracy, macro F1 and entity F1. An example is a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from search.metrics.labels import macro_f1_of_counts
from search.metrics.score import FloatArray, Score, ratio, ratios

Entity = tuple[str, int, int]


def accuracy(right: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> Score:
    """The share of words whose tag is right.

    Args:
        right: the tags of each sentence's words, `[E][words]`.
        given: the predicted tags, of the same lengths.
    """
    hits = [sum(map(str.__eq__, *pair)) for pair in zip(right, given, strict=True)]
    return ratio(np.array(hits, float), np.array([len(row) for row in right], float))


def macro_f1(right: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> Score:
    """The mean over tags of the F1 of words, as scikit-learn's; the arguments are those of `accuracy`."""
    tags = {
        tag: number
        for number, tag in enumerate({tag for rows in (right, given) for row in rows for tag in row})
    }
    hits = [
        [tag for tag, guess in zip(*pair, strict=True) if tag == guess]
        for pair in zip(right, given, strict=True)
    ]
    right_EC, given_EC, hits_EC = (_counts(rows, tags) for rows in (right, given, hits))
    return macro_f1_of_counts(hits_EC, right_EC + given_EC)


def entity_f1(
    right: Sequence[Sequence[str]], given: Sequence[Sequence[str]]
) -> tuple[Score, dict[str, float]]:
    """The F1 of whole entities, type and both ends, as seqeval's: 2 tp / (given + right).

    Args:
        right: the tags of each sentence's words in the IOB scheme, `[E][words]`.
        given: the predicted tags, of the same lengths.

    Returns:
        The score over all types, and the F1 of each type that is right somewhere.
    """
    there, found = ([_entities(row) for row in rows] for rows in (right, given))
    hits = [mine & other for mine, other in zip(there, found, strict=True)]
    types = {
        kind: number
        for number, kind in enumerate(
            sorted({kind for rows in (there, found) for row in rows for kind, _, _ in row})
        )
    }
    right_EK, given_EK, hits_EK = (
        _counts([[kind for kind, _, _ in row] for row in rows], types) for rows in (there, found, hits)
    )
    values_K, _ = ratios(2 * hits_EK, right_EK + given_EK)
    score = ratio(2 * hits_EK.sum(1), (right_EK + given_EK).sum(1))
    return score, {
        kind: float(values_K[number]) for kind, number in types.items() if right_EK[:, number].any()
    }


def _entities(tags: Sequence[str]) -> set[Entity]:
    """The entities of a sentence: type, first and last word."""
    from seqeval.metrics.sequence_labeling import get_entities

    return set(get_entities(list(tags)))


def _counts(rows: Sequence[Iterable[str]], numbers: dict[str, int]) -> FloatArray:
    """How often each row has each value, `[E, C]`."""
    counts_EC = np.zeros((len(rows), len(numbers)))
    for number, row in enumerate(rows):
        for value in row:
            counts_EC[number, numbers[value]] += 1
    return counts_EC
