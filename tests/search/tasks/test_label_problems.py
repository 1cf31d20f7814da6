"""One label, several, or a number: what the head learns, and the scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from search import tasks
from search.errors import StudyFileError
from search.tasks import Row, Split
from search.tasks.label_problems import OneLabel
from tests.search.tasks.rows import row, targets


def make_task(metric: str) -> OneLabel:
    return OneLabel(
        name="t",
        metric=metric,
        labels=("a", "b", "c"),
        label_ids=[[1], [2], [3]],
        splits={},
        encode=lambda text: [],
    )


LOGITS = torch.tensor([[2.0, 1, 0], [0, 2, 1], [2, 0, 1], [0, 0, 1]])
EACH = list(LOGITS[:, None])
SPLIT = Split([Row([1], [target]) for target in (0, 1, 2, 2)], "")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("accuracy", 0.75), ("macro_f1", (2 / 3 + 1 + 2 / 3) / 3), ("matthews_correlation", 0.7)],
)
def test_metrics(metric: str, expected: float) -> None:
    found = make_task(metric).evaluate(SPLIT, EACH)
    assert found.score == pytest.approx(expected)
    assert found.examples is not None
    assert len(found.examples) == 4
    assert metric != "accuracy" or found.examples == [1.0, 1.0, 0.0, 1.0]
    assert found.predictions == ["a", "b", "a", "c"]
    assert found.targets == ["a", "b", "c", "c"]
    assert set(found.metrics) == {"accuracy", "macro_f1", "matthews_correlation"} - {metric}


def test_logits_that_are_not_finite_score_nan() -> None:
    found = make_task("accuracy").evaluate(SPLIT, [row * math.nan for row in EACH])
    assert math.isnan(found.score)
    assert found.examples is None


def test_loss_is_per_row() -> None:
    task = make_task("accuracy")
    losses = task.loss(EACH, SPLIT.rows)
    assert losses.shape == (4,)
    assert torch.equal(losses[2:3], task.loss(EACH[2:3], SPLIT.rows[2:3]))


def test_several_labels_are_a_one_for_each(write: Any, tiny_tokenizer: Any) -> None:
    rows = [row("cat", ["b", "a"]), row("dog", []), row("map", ["c"])]
    config = write(
        {"train": rows, "validation": rows}, problem_type="multi_label_classification", metric="macro_f1"
    )
    task = tasks.load(config, tiny_tokenizer, 12, 0)
    assert task.labels == ("a", "b", "c")
    assert targets(task.splits["train"]) == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    logits = [torch.tensor([[2.0, 1, -1]]), torch.tensor([[-1.0, -1, 3]]), torch.tensor([[-1.0, -1, 3]])]
    found = task.evaluate(task.splits["train"], logits)
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)
    assert found.score == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert found.targets == ["a, b", "", "c"]
    assert found.predictions == ["a, b", "c", "c"]
    assert task.loss(logits, task.splits["train"].rows).shape == (3,)


def test_numbers_are_standardized_for_the_head_and_given_back(write: Any, tiny_tokenizer: Any) -> None:
    rows = [row(word, number) for word, number in (("cat", 1), ("dog", 3.0), ("map", 5.5), ("cat", 2))]
    config = write({"train": rows, "validation": rows}, problem_type="regression", metric="spearman")
    task = tasks.load(config, tiny_tokenizer, 12, 0)
    split = task.splits["train"]
    numbers = torch.tensor([1, 3, 5.5, 2])
    right = [row[None, None] for row in (numbers - numbers.mean()) / numbers.std(correction=0)]
    assert task.loss(right, split.rows).abs().max() < 1e-6
    found = task.evaluate(split, right)
    assert found.score == pytest.approx(1)
    assert found.metrics["pearson"] == pytest.approx(1)
    assert found.metrics["rmse"] < 1e-5
    assert task.evaluate(split, [torch.zeros(1, 1)] * 4).score == 0
    assert found.targets == ["1", "3", "5.5", "2"]


@pytest.mark.parametrize(
    ("problem_type", "metric", "label", "expected"),
    [
        ("regression", "pearson", "high", r"label: label must hold numbers; row 1 of 'train' .* has 'high'"),
        ("multi_label_classification", "macro_f1", "a", r"must hold a list of labels; row 1 of 'train'"),
    ],
)
def test_labels_of_another_kind(
    write: Any, tiny_tokenizer: Any, problem_type: str, metric: str, label: Any, expected: str
) -> None:
    first = {"regression": 1.0, "multi_label_classification": ["a", "b"]}[problem_type]
    rows = [row("cat", first), row("dog", label)]
    config = write({"train": rows, "validation": rows}, problem_type=problem_type, metric=metric)
    with pytest.raises(StudyFileError, match=expected):
        tasks.load(config, tiny_tokenizer, 12, 0)


def test_a_metric_of_another_kind_of_label_is_refused(write: Any) -> None:
    with pytest.raises(ValueError, match="must be one of pearson, spearman if problem_type is regression"):
        write(problem_type="regression")
    with pytest.raises(ValueError, match="it is for one label per text"):
        write(problem_type="regression", metric="pearson", few_shot=4)
