"""SQuAD's metrics of answers: F1 of words, and exact match."""

from __future__ import annotations

from collections.abc import Sequence

from search.metrics.score import Score, mean


def squad(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Score]:
    """SQuAD's `f1` and `exact_match` of answers, means over questions (Rajpurkar et al., 2016, section 6.1).

    Args:
        predictions: an answer to each question, `[E]`.
        references: each question's right answers; none if there is no answer.
    """
    pairs = [squad_of_one(got, right) for got, right in zip(predictions, references, strict=True)]
    f1, exact = zip(*pairs, strict=True)
    return {"f1": mean(f1), "exact_match": mean(exact)}


def squad_of_one(prediction: str, references: Sequence[str]) -> tuple[float, float]:
    """SQuAD's F1 and exact match of an answer, each the best over the references, from 0 to 1.

    If there are no references, only the empty text is right (SQuAD 2.0).
    """
    from torchmetrics.functional.text import squad

    if not references:
        return float(not prediction), float(not prediction)
    if not prediction:  # no text is shared with any reference
        return 0.0, 0.0
    found = squad(
        [{"prediction_text": prediction, "id": "0"}],
        [{"answers": {"text": list(references), "answer_start": [0] * len(references)}, "id": "0"}],
    )
    return float(found["f1"]) / 100, float(found["exact_match"]) / 100
