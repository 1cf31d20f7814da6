"""Metrics of labels and words equal scikit-learn's and seqeval's; their pseudo-values equal recomputation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from seqeval.metrics import classification_report, f1_score
from sklearn import metrics

from search.metrics import labels, words
from tests.search.metrics.by_hand import draw, pseudo_values, without

TAGS = ["O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, where a class is left out
        yield


def one_label(seed: int, count: int = 60, classes: int = 4) -> tuple[list[int], list[int]]:
    right = np.random.default_rng(seed).integers(0, classes, count).tolist()
    return right, draw(seed + 1, right, 0.5, list(range(classes)))


def sentences(seed: int, count: int = 25) -> tuple[list[list[str]], list[list[str]]]:
    generator = np.random.default_rng(seed)
    right = [[TAGS[k] for k in generator.integers(0, len(TAGS), n)] for n in generator.integers(1, 12, count)]
    return right, [draw(seed + number, row, 0.3, TAGS) for number, row in enumerate(right, start=1)]


def macro_f1(right: Any, given: Any) -> float:
    return float(metrics.f1_score(right, given, average="macro", zero_division=0))


def flat(rows: Any) -> list[str]:
    return [tag for row in rows for tag in row]


def accuracy_of_words(right: Any, given: Any) -> float:
    return float(metrics.accuracy_score(flat(right), flat(given)))


@pytest.mark.parametrize("seed", range(3))
def test_labels(seed: int) -> None:
    right, given = one_label(seed)
    for found, expected in (
        (labels.accuracy(right, given), metrics.accuracy_score),
        (labels.macro_f1(right, given), macro_f1),
        (labels.matthews(right, given), metrics.matthews_corrcoef),
    ):
        assert found.value == pytest.approx(expected(right, given), abs=1e-12)
        assert found.examples == pytest.approx(pseudo_values(expected, right, given), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_sets_of_labels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    right = (generator.random((50, 5)) < [0.5, 0.3, 0.4, 0.2, 0]).astype(int)
    given = np.abs(right - (generator.random((50, 5)) < [0.2, 0.3, 0.1, 0.2, 0])).tolist()
    right = right.tolist()
    found = labels.macro_f1_of_sets(right, given)
    assert found.value == pytest.approx(macro_f1(right, given), abs=1e-12), (
        "the label that is nowhere counts as 0"
    )
    assert found.examples == pytest.approx(pseudo_values(macro_f1, right, given), abs=1e-9)
    assert labels.accuracy(right, given).value == metrics.accuracy_score(right, given)


def test_a_class_of_one_example_does_not_deviate_where_it_is_left_out() -> None:
    right, given = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2]
    found = labels.macro_f1(right, given)
    assert found.value == pytest.approx(macro_f1(right, given))
    f1 = metrics.f1_score(right, given, average=None)
    rest = metrics.f1_score(without(right, 5), without(given, 5), average=None)
    assert found.examples is not None
    assert found.examples[5] == pytest.approx(6 * found.value - 5 * np.mean([*rest, f1[2]]))


@pytest.mark.parametrize("seed", range(3))
def test_words(seed: int) -> None:
    right, given = sentences(seed)
    accuracy = words.accuracy(right, given)
    assert accuracy.value == pytest.approx(accuracy_of_words(right, given), abs=1e-12)
    assert accuracy.examples == pytest.approx(pseudo_values(accuracy_of_words, right, given), abs=1e-9)
    macro = words.macro_f1(right, given)
    expected = pseudo_values(lambda one, other: macro_f1(flat(one), flat(other)), right, given)
    assert macro.value == pytest.approx(macro_f1(flat(right), flat(given)), abs=1e-12)
    assert macro.examples == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_entities(seed: int) -> None:
    right, given = sentences(seed)
    score, types = words.entity_f1(right, given)
    assert score.value == pytest.approx(f1_score(right, given), abs=1e-12)
    assert score.examples == pytest.approx(pseudo_values(f1_score, right, given), abs=1e-9)
    report = classification_report(right, given, output_dict=True)
    assert types == pytest.approx({kind: report[kind]["f1-score"] for kind in ("LOC", "PER")}, abs=1e-12)


def test_no_entities_at_all() -> None:
    rows = [["O", "O"], ["O"]]
    assert words.entity_f1(rows, rows) == (labels.mean([0.0, 0.0]), {})
    score, types = words.entity_f1(rows, [["B-PER", "O"], ["O"]])
    assert (score.value, types) == (0.0, {})


@pytest.mark.parametrize("given", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_matthews_of_one_label_is_0(given: list[int]) -> None:
    assert labels.matthews([0, 1, 0, 1], given) == labels.mean([0.0] * 4)


def test_one_example() -> None:
    for metric in (labels.accuracy, labels.macro_f1, labels.matthews):
        found = metric([1], [1])
        assert found.examples == [found.value]
