"""Texts that are written: layout, references, published scores, and what can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from search import tasks
from search.config import kinds
from search.errors import StudyFileError
from search.tasks.text_generation import GenerationSplit
from search.training.batches import collate, without_targets
from tests.search.tasks.writing import load, settings


def test_a_decoder_reads_the_target_where_it_is_to_be_said(tmp_path: Path, writing_tokenizer: Any) -> None:
    row = load(tmp_path, writing_tokenizer).splits["train"].rows[0]
    assert writing_tokenizer.decode(row.input_ids) == "cat near train the cat is near the train"
    assert writing_tokenizer.decode(row.targets) == "the cat is near the train [SEP]"
    assert row.read == [2, 3, 4, 5, 6, 7, 8]
    (alone,) = without_targets([row])
    assert writing_tokenizer.decode(alone.input_ids) == "cat near train"


def test_an_encoder_decoder_writes_after_its_start_token(tmp_path: Path, writing_tokenizer: Any) -> None:
    rows = load(tmp_path, writing_tokenizer, "encoder-decoder").splits["train"].rows
    assert writing_tokenizer.decode(rows[0].input_ids) == "cat near train"
    assert writing_tokenizer.decode(rows[0].targets) == "the cat is near the train [SEP]"
    assert writing_tokenizer.decode(rows[0].written) == "the cat is near the train"
    texts = collate(rows, torch.device("cpu"))
    assert texts.written_BU is not None
    assert texts.read_BT.shape == (4, 1 + texts.written_BU.shape[1])
    assert texts.read_BT.sum(1).tolist() == [len(row.targets) for row in rows]


def test_rows_of_one_source_are_one_example_with_several_references(
    tmp_path: Path, writing_tokenizer: Any
) -> None:
    split = load(tmp_path, writing_tokenizer).splits["validation"]
    assert isinstance(split, GenerationSplit)
    assert len(split) == 4
    assert [example.source for example in split.examples] == [
        "cat near train",
        "dog near map",
        "fish with bread",
    ]
    assert split.examples[1].targets == ("the dog is near the map", "a dog was near the map")
    two = load(tmp_path, writing_tokenizer, max_train_samples=2).splits["train"]
    assert isinstance(two, GenerationSplit)
    assert len(two.examples) == 2


def test_a_validation_split_that_is_cut_off_shares_no_source_with_train(
    tmp_path: Path, writing_tokenizer: Any
) -> None:
    content = settings(
        tmp_path,
        [
            (f"{a} near {b}", t)
            for a in ("cat", "dog", "fish")
            for b in ("map", "road")
            for t in ("one", "two")
        ],
    )
    content["data"] |= {"validation_split": None, "validation_fraction": 0.3}
    task = tasks.load(kinds.parse(content), writing_tokenizer, 16, 0, architecture="decoder")
    train, validation = task.splits["train"], task.splits["validation"]
    assert isinstance(train, GenerationSplit)
    assert isinstance(validation, GenerationSplit)
    assert not {e.source for e in train.examples} & {e.source for e in validation.examples}
    assert not task.warnings


def test_what_is_too_long_is_cut_and_counted(tmp_path: Path, writing_tokenizer: Any) -> None:
    task = load(tmp_path, writing_tokenizer, max_length=10, max_target_length=6)
    assert task.splits["train"].rows[0].targets[-1] != task.end
    assert "3 of 4 rows of train are cut" in task.warnings[0]


def test_an_encoder_writes_nothing(tmp_path: Path, writing_tokenizer: Any) -> None:
    with pytest.raises(StudyFileError, match="kind: text_generation needs a decoder"):
        load(tmp_path, writing_tokenizer, "encoder")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_target_length": 16}, "max_target_length: must be below model.max_length"),
        ({"pairs": [("cat", "")]}, "target: row 0 of 'train'"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], message: str, tmp_path: Path, writing_tokenizer: Any) -> None:
    with pytest.raises(StudyFileError, match=message):
        load(tmp_path, writing_tokenizer, **given)


def test_a_tokenizer_must_be_able_to_end_a_text(tmp_path: Path, writing_tokenizer: Any) -> None:
    writing_tokenizer.eos_token = None
    with pytest.raises(StudyFileError, match="end-of-text token"):
        load(tmp_path, writing_tokenizer)
