"""Spans that answer a question: windows, targets, the best span, SQuAD's scores, and what can be wrong."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from methods.heads import spans
from search import tasks
from search.config import kinds
from search.config.study_config import TrainingConfig
from search.errors import StudyFileError
from search.tasks.question_answering import QuestionAnswering, QuestionSplit
from search.training.evaluation import evaluate, predict
from search.training.steps.pack import Pack
from search.training.trial import Trial

CONTEXT = "the cat is near the old train and a dog was with the fish"


def row(question: str, context: str, *answers: str, start: int | None = None) -> dict[str, Any]:
    starts = [context.index(answer) if start is None else start for answer in answers]
    return {
        "question": question,
        "context": context,
        "answers": {"text": list(answers), "answer_start": starts},
    }


ROWS = [
    row("a cat", CONTEXT, "old train", "the old train"),
    row("dog", "a dog was with the fish", "fish"),
    row("mouse", "bread and soup"),
]


def load(
    tmp_path: Path, tokenizer: Any, rows: list[dict[str, Any]] = ROWS, max_length: int = 24, **given: Any
) -> Any:
    for split in ("train", "validation"):
        with (tmp_path / f"{split}.json").open("w") as file:
            file.writelines(json.dumps(each) + "\n" for each in rows)
    files = {split: str(tmp_path / f"{split}.json") for split in ("train", "validation")}
    source = {"path": "json", "data_files": files, "validation_split": "validation", "test_split": None}
    settings = {"name": "qa", "kind": "question_answering", "doc_stride": 3, "data": source, **given}
    return tasks.load(kinds.parse(settings), tokenizer, max_length, 0)


def text_of(tokenizer: Any, ids: list[int]) -> str:
    decoded: str = tokenizer.decode(ids)
    return decoded


def test_targets_are_places_of_the_context(tmp_path: Path, tiny_tokenizer: Any) -> None:
    task = load(tmp_path, tiny_tokenizer)
    split = task.splits["train"]
    assert [window.question for window in split.windows] == [0, 1, 2]
    first = split.rows[0]
    start, end = (first.read[place] for place in first.targets)
    assert text_of(tiny_tokenizer, first.input_ids[start : end + 1]) == "old train"
    assert first.read[0] == 0
    assert text_of(tiny_tokenizer, [first.input_ids[at] for at in first.read[1:]]) == CONTEXT
    assert split.rows[2].targets == [0, 0], "no answer: the first place"
    assert task.unanswerable


def test_long_contexts_are_cut_into_windows_that_overlap(tmp_path: Path, tiny_tokenizer: Any) -> None:
    task = load(tmp_path, tiny_tokenizer, max_length=12)
    windows = [window for window in task.splits["train"].windows if window.question == 0]
    assert len(windows) > 1
    assert all(len(window.input_ids) <= 12 for window in windows)
    for before, after in itertools.pairwise(windows):
        assert before.spans[-3:] == after.spans[1:4], "neighbours share doc_stride tokens"
    there = [
        (window, row)
        for window, row in zip(task.splits["train"].windows, task.splits["train"].rows, strict=True)
        if window.question == 0 and row.targets != [0, 0]
    ]
    assert there
    for window, found in there:
        start, end = found.targets
        assert CONTEXT[window.spans[start][0] : window.spans[end][1]] == "old train"
    assert task.warnings == (
        "3 of 3 rows of validation are in train too",
        "3 of 3 contexts of validation are in train too: their scores may be too good",
    )


def test_an_answer_that_is_whole_in_no_window_is_told(tmp_path: Path, tiny_tokenizer: Any) -> None:
    rows = [row("cat", CONTEXT, "near the old train and a dog was"), ROWS[1]]
    task = load(tmp_path, tiny_tokenizer, rows, max_length=12)
    assert (
        task.warnings[0] == "1 of 2 answers of train fit into no window: raise doc_stride or model.max_length"
    )


def perfect(split: QuestionSplit) -> list[torch.Tensor]:
    """Logits that say what is right."""
    outputs = []
    for row in split.rows:
        logits = torch.zeros(row.places, 2)
        logits[int(row.targets[0]), 0] = logits[int(row.targets[1]), 1] = 9
        outputs.append(logits)
    return outputs


@pytest.mark.parametrize("max_length", [12, 24])
def test_right_logits_give_the_answers_over_all_windows(
    max_length: int, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    task = load(tmp_path, tiny_tokenizer, max_length=max_length)
    split = task.splits["validation"]
    found = task.evaluate(split, perfect(split))
    assert found.predictions == ["old train", "fish", ""]
    assert found.targets == ["old train / the old train", "fish", ""]
    assert found.score == 1
    assert found.metrics == {"exact_match": 1}
    assert found.examples == [1, 1, 1]
    assert float(task.loss(perfect(split), split.rows).max()) < 0.01
    assert math.isnan(task.evaluate(split, [row * math.nan for row in perfect(split)]).score)


def test_without_unanswerable_questions_there_is_always_an_answer(
    tmp_path: Path, tiny_tokenizer: Any
) -> None:
    task = load(tmp_path, tiny_tokenizer, ROWS[:2])
    split = task.splits["validation"]
    nowhere = [torch.zeros(row.places, 2).index_fill(0, torch.tensor([0]), 5.0) for row in split.rows]
    assert all(task.evaluate(split, nowhere).predictions)


def test_no_answer_is_longer_than_allowed_or_backwards(tmp_path: Path, tiny_tokenizer: Any) -> None:
    split = load(tmp_path, tiny_tokenizer).splits["train"]
    window = split.windows[0]
    logits = torch.zeros(len(window.read), 2)
    logits[3, 0] = logits[9, 1] = 5
    logits[6, 0], logits[4, 1] = 4.5, 4
    whole = spans.best(window, logits, 30)
    assert (whole.start, whole.end) == (window.spans[3][0], window.spans[9][1])
    short = spans.best(window, logits, 5)
    assert (short.start, short.end) == (window.spans[6][0], window.spans[9][1])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            row("dog", "a dog", "cat", start=2),
            r"answers: row 1 of 'train' .* 'cat' at character 2, but its context has 'dog' there",
        ),
        (
            {**ROWS[0], "answers": "fish"},
            r"answers: answers must hold \{text: .*; row 1 of 'train' .* has 'fish'",
        ),
        ({**ROWS[0], "context": " "}, r"context: row 1 of 'train' .* has no text in context"),
        ({**ROWS[0], "answers": {"text": ["old"], "answer_start": []}}, "has 1 texts but 0 starts"),
    ],
)
def test_rows_that_cannot_be(bad: Any, message: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    path = tmp_path / "rows.py"
    path.write_text(f"def splits(): return { ({'train': [ROWS[0], bad], 'test': ROWS})!r}")
    settings = {"name": "qa", "kind": "question_answering", "data": {"path": str(path)}}
    with pytest.raises(StudyFileError, match=message):
        tasks.load(kinds.parse(settings), tiny_tokenizer, 60, 0)


def test_a_question_that_leaves_no_room_is_refused(tmp_path: Path, tiny_tokenizer: Any) -> None:
    with pytest.raises(StudyFileError, match=r"question: must be at most 2 tokens.*Raise model.max_length"):
        load(tmp_path, tiny_tokenizer, [row("cat dog fish", CONTEXT, "fish"), *ROWS], max_length=9)


@pytest.mark.parametrize("name", ["head_only", "prompt_tuning", "p_tuning_v2", "prompt_pool", "full"])
def test_it_learns_and_padding_does_not_matter(
    name: str, tmp_path: Path, tiny_model: Path, tiny_tokenizer: Any
) -> None:
    backbone = Backbone.load(str(tiny_model))
    task = load(tmp_path, tiny_tokenizer)
    assert isinstance(task, QuestionAnswering)
    module = methods.get(name)
    settings = TrainingConfig(max_steps=80, eval_steps=80, per_device_train_batch_size=3)
    given = {"learning_rate" if name == "head_only" else "head_learning_rate": 0.1}
    trial = Trial(module.Method, module.Config(**given), backbone, [task], [1.0], settings, 0)
    pack = Pack()
    pack.attach(trial)
    losses = [pack.step()[0] for _ in range(80)]
    assert losses[-1] < 0.5 * losses[0]
    split = task.splits["train"]
    for one, other in zip(*(predict(trial, 0, split, backbone, size) for size in (3, 1)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert evaluate(trial, 0, split, backbone, 3).score > 0.6
