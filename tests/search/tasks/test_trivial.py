"""What an answer that needs no model scores, for each kind of task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search import tasks
from search.config import kinds
from search.tasks import Task, Trivial
from tests.search.tasks.rows import Rows, row
from tests.search.tasks.writing import load as load_writing


def trivial(task: Task) -> Trivial:
    found = task.trivial(task.splits["train"], task.splits["validation"])
    assert found is not None
    evaluation = found.evaluation
    assert evaluation.examples is not None
    assert len(evaluation.examples) == len(evaluation.predictions) == len(evaluation.targets)
    return found


def on(write: Any, tokenizer: Any, train: Rows, validation: Rows, **settings: Any) -> Trivial:
    config = write({"train": train, "validation": validation}, **settings)
    return trivial(tasks.load(config, tokenizer, 12, 0))


def test_the_most_frequent_label_of_train(write: Any, tiny_tokenizer: Any) -> None:
    train = [row("cat", "a"), row("dog", "b"), row("map", "b")]
    validation = [row("road", "a"), row("rice", "b"), row("fish", "a"), row("soup", "a")]
    found = on(write, tiny_tokenizer, train, validation)
    assert found.answer == "always 'b'"
    assert found.evaluation.score == 0.25
    assert found.evaluation.predictions == ["b"] * 4
    assert found.evaluation.metrics["matthews_correlation"] == 0


def test_the_labels_that_most_rows_have(write: Any, tiny_tokenizer: Any) -> None:
    several = {"problem_type": "multi_label_classification", "metric": "accuracy"}
    train = [row("cat", ["a", "b"]), row("dog", ["b"]), row("map", ["c", "b"])]
    found = on(write, tiny_tokenizer, train, [row("road", ["b"]), row("rice", [])], **several)
    assert (found.answer, found.evaluation.score) == ("always 'b'", 0.5)
    found = on(write, tiny_tokenizer, train[:1] + [row("dog", [])] * 2, [row("rice", [])], **several)
    assert (found.answer, found.evaluation.score) == ("no labels", 1)


def test_the_mean(write: Any, tiny_tokenizer: Any) -> None:
    train, validation = [row("cat", 1.0), row("dog", 4.0)], [row("road", 2.0), row("rice", 3.0)]
    found = on(write, tiny_tokenizer, train, validation, problem_type="regression", metric="pearson")
    assert (found.answer, found.evaluation.score) == ("the mean", 0)
    assert found.evaluation.predictions == ["2.5", "2.5"]
    assert found.evaluation.metrics["rmse"] == 0.5


@pytest.mark.parametrize(
    ("metric", "answer", "score"), [("entity_f1", "no entities", 0), ("accuracy", "always 'B-x'", 0.4)]
)
def test_tags(tmp_path: Path, tiny_tokenizer: Any, metric: str, answer: str, score: float) -> None:
    train = [{"words": ["cat", "dog", "the"], "tags": ["B-x", "B-x", "O"]}]
    held = [
        {"words": ["the", "dog", "the"], "tags": ["O", "B-x", "O"]},
        {"words": ["cat", "and"], "tags": ["B-x", "O"]},
    ]
    (tmp_path / "rows.py").write_text(f"def splits(): return { ({'train': train, 'validation': held})!r}")
    data = {"path": str(tmp_path / "rows.py"), "validation_split": "validation"}
    given = {"name": "t", "kind": "token_classification", "metric": metric, "data": data}
    found = trivial(tasks.load(kinds.parse(given), tiny_tokenizer, 12, 0))
    assert (found.answer, found.evaluation.score) == (answer, score)


def test_no_answer(tmp_path: Path, tiny_tokenizer: Any) -> None:
    none: dict[str, list[Any]] = {"text": [], "answer_start": []}
    there = {"text": ["cat"], "answer_start": [0]}
    rows = [{"question": "dog", "context": "cat is old", "answers": answers} for answers in (none, there)]
    (tmp_path / "rows.py").write_text(f"def splits(): return { ({'train': rows, 'validation': rows})!r}")
    data = {"path": str(tmp_path / "rows.py"), "validation_split": "validation"}
    config = kinds.parse({"name": "qa", "kind": "question_answering", "data": data, "doc_stride": 1})
    found = trivial(tasks.load(config, tiny_tokenizer, 12, 0))
    assert (found.answer, found.evaluation.score) == ("no answer", 0.5)
    assert found.evaluation.examples == [1, 0]


def test_the_copied_source(tmp_path: Path, writing_tokenizer: Any) -> None:
    found = trivial(load_writing(tmp_path, writing_tokenizer))
    assert found.answer == "the copied source"
    assert found.evaluation.predictions[0] == "cat near train"
    assert 0 < found.evaluation.score < 1
    task = load_writing(tmp_path, writing_tokenizer, metric="neg_perplexity")
    assert task.trivial(task.splits["train"], task.splits["validation"]) is None
