"""Metrics of texts and answers: published scores, torchmetrics' values, pseudo-values by recomputation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from torchmetrics.functional.text import sacre_bleu_score

from search.metrics.answers import squad, squad_of_one
from search.metrics.texts import bleu, exact_match, neg_perplexity, rouge_l
from tests.search.metrics.by_hand import pseudo_values

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    ",",
    "near",
    "an",
    "old",
    "train",
    "and",
    "it",
    "was",
    "3.5",
    ".",
]


def of_torchmetrics(predictions: Any, references: Any) -> float:
    return float(sacre_bleu_score(predictions, references))


def texts(seed: int, count: int, length: int) -> tuple[list[str], list[list[str]]]:
    """Texts of `length` words on average, and one or two references of each."""
    generator = np.random.default_rng(seed)
    written, references = [], []
    for _ in range(count):
        words = [WORDS[k] for k in generator.integers(0, len(WORDS), generator.integers(6, 14))]
        references.append(
            [" ".join(words), " ".join(words[: generator.integers(5, 14)])][: generator.integers(1, 3)]
        )
        kept = [word for word in words if generator.random() < 0.9][:length]
        written.append(" ".join([*kept, *generator.choice(WORDS, 2)]))
    return written, references


def test_published_scores() -> None:
    # Lin (2004), "ROUGE", section 3.1: of these two sentences ROUGE-L prefers the first, with 3/4 against 2/4.
    right = ("police killed the gunman",)
    found = rouge_l(["police kill the gunman", "the gunman kill police"], [right, right])
    assert (found.value, found.examples) == (0.625, [0.75, 0.5])
    # sacrebleu's README: 48.53.
    written = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    first = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
    second = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]
    assert bleu(written, list(zip(first, second, strict=True))).value == pytest.approx(0.485308, abs=1e-5)
    assert bleu(["a b c d e"], [["a b c d e", "x"]]).value == pytest.approx(1)
    assert bleu(["a b c d e"], [["a b c d e"]]).value == pytest.approx(1)
    assert exact_match(["a  b ", "a c"], [["x", "a b"], ["a b"]]).examples == [1.0, 0.0]
    assert rouge_l([""], [["a b"]]).value == 0.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("length", [5, 20], ids=["too short", "long enough"])
def test_bleu(seed: int, length: int) -> None:
    written, references = texts(seed, 20, length)
    found = bleu(written, references)
    assert found.value > 0.1
    assert found.value == pytest.approx(of_torchmetrics(written, references), abs=1e-6)
    # Torchmetrics rounds to float32.
    assert found.examples == pytest.approx(pseudo_values(of_torchmetrics, written, references), abs=1e-4)


def test_bleu_of_texts_without_a_match() -> None:
    assert bleu(["", "x"], [["a b"], ["a b c d"]]).examples == [0.0, 0.0]
    # All matches of four words are in one text: without it the score is 0.
    found = bleu(["a b c d", "a x y z"], [["a b c d"], ["a b"]])
    assert found.examples[0] == pytest.approx(2 * found.value)


@pytest.mark.parametrize("seed", range(3))
def test_perplexity(seed: int) -> None:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(1, 20, 40).tolist()
    losses = (generator.gamma(2, 1, 40) * tokens).tolist()

    def by_hand(losses: Any, tokens: Any) -> float:
        return -math.exp(sum(losses) / sum(tokens))

    found = neg_perplexity(losses, tokens)
    assert found.value == pytest.approx(by_hand(losses, tokens))
    assert found.examples == pytest.approx(pseudo_values(by_hand, losses, tokens))


def test_a_perplexity_beyond_all_numbers_is_a_number() -> None:
    found = neg_perplexity([1e6, 2e6], [1, 1])
    assert found.value == -math.exp(700)
    assert np.isfinite(found.examples).all()


def test_squad() -> None:
    found = squad(["the old train", "cat", ""], [["old train", "a map"], ["dog"], []])
    assert found["exact_match"].examples == [1, 0, 1]
    assert found["f1"].value == pytest.approx(2 / 3)
    assert squad_of_one("old big train", ["train", "old train"])[0] == pytest.approx(0.8)


def test_an_answer_scores_as_in_squad() -> None:
    """torchmetrics' published example, and SQuAD's: articles, case and punctuation do not count."""
    assert squad_of_one("1976", ["1976"]) == (1, 1)
    assert squad_of_one("the Norman dynasty", ["Norman Dynasty."]) == (1, 1)
    f1, exact = squad_of_one("in 1976 or so", ["1976", "about 1976"])
    assert exact == 0
    assert f1 == pytest.approx(2 * 0.25 * 1 / 1.25)
    assert squad_of_one("", []) == (1, 1)
    assert squad_of_one("something", []) == (0, 0)
    assert squad_of_one("", ["something"]) == (0, 0)
