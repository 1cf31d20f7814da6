"""Metrics of written texts: exact match, ROUGE-L, BLEU; and the perplexity of given ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.metrics.score import FloatArray, Score, jackknife, mean, ratios

_LARGEST_LOSS = 700.0
"""The exponential of a larger loss would overflow."""


def exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """The share of texts that equal one of their references, ignoring white space.

    Args:
        predictions: a text for each example, `[E]`.
        references: each example's right texts, at least one.
    """
    return mean(
        [
            float(" ".join(text.split()) in {" ".join(right.split()) for right in mine})
            for text, mine in zip(predictions, references, strict=True)
        ]
    )


def rouge_l(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """The mean ROUGE-L F score of each text with its closest reference (Lin, 2004), by torchmetrics.

    The arguments are those of `exact_match`.
    """
    from torchmetrics.functional.text import rouge_score

    return mean(
        [
            float(rouge_score(text, list(mine), accumulate="best", rouge_keys="rougeL")["rougeL_fmeasure"])
            for text, mine in zip(predictions, references, strict=True)
        ]
    )


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """BLEU of all texts (Papineni et al., 2002, section 2.3) with sacrebleu's tokenizer 13a, from 0 to 1.

    It is made of sums over texts: matched and written n-grams, and lengths. Torchmetrics counts them. The arguments are
    those of `exact_match`.
    """
    from torchmetrics.text import SacreBLEUScore

    counter, rows = SacreBLEUScore(), []
    for text, mine in zip(predictions, references, strict=True):
        counter.update([text], [list(mine)])
        counts = (counter.numerator, counter.denominator, counter.preds_len, counter.target_len)
        rows.append(np.hstack([count.numpy() for count in counts]))
        counter.reset()
    return bleu_of_counts(np.array(rows, float))


def bleu_of_counts(counts_EX: FloatArray) -> Score:
    """BLEU from the counts of each text: 4 of matched n-grams, 4 of written ones, written words, words of the reference."""
    sums_X = counts_EX.sum(0)
    return jackknife(float(_bleu(sums_X[None])[0]), _bleu(sums_X - counts_EX))


def neg_perplexity(losses: Sequence[float], tokens: Sequence[int]) -> Score:
    """Minus the perplexity: -exp of the mean loss of all tokens.

    Args:
        losses: the sum of each example's token losses, in nats, `[E]`.
        tokens: the number of its tokens, `[E]`.
    """
    loss_1, without_E1 = ratios(np.array(losses, float)[:, None], np.array(tokens, float)[:, None])
    return jackknife(float(_neg_exp(loss_1)[0]), _neg_exp(without_E1[:, 0]))


def _neg_exp(loss_X: FloatArray) -> FloatArray:
    return -np.exp(np.minimum(loss_X, _LARGEST_LOSS))


def _bleu(sums_X10: FloatArray) -> FloatArray:
    """BLEU of sums over texts, `[X]`: 4 of matched n-grams, 4 of written ones, written words, words of the references."""
    matched_X4, made_X4, written_X, wanted_X = np.split(sums_X10, [4, 8, 9], axis=1)
    there_X = matched_X4.min(1) > 0
    logs_X4 = np.log(np.where(there_X[:, None], matched_X4, 1)) - np.log(
        np.where(there_X[:, None], made_X4, 1)
    )
    brevity_X = np.minimum(0, 1 - wanted_X[:, 0] / np.maximum(written_X[:, 0], 1))
    return np.where(there_X, np.exp(brevity_X + logs_X4.mean(1)), 0)
