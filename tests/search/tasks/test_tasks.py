"""Sequence classification: labels, tokens, draws, and what can be wrong with a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from search import tasks
from search.config import kinds
from search.errors import StudyFileError
from search.tasks import sources
from tests.search.tasks.rows import Rows, input_ids, row, targets


def test_labels_come_from_train_and_targets_number_them(
    write: Any, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    task = tasks.load(write(), tiny_tokenizer, 12, seed=0)
    assert task.labels == ("animals", "food", "travel")
    assert targets(task.splits["train"])[:4] == [[0], [1], [2], [0]]
    assert set(task.splits) == {"train", "validation"}
    assert [tiny_tokenizer.decode(ids) for ids in task.label_ids] == list(task.labels)
    assert task.warnings == ()


def test_numbers_as_labels_are_in_the_order_of_numbers(write: Any, tiny_tokenizer: Any) -> None:
    train = [row("cat", label) for label in (10, 9, 2.0, 10)]
    task = tasks.load(write({"train": train, "validation": train}), tiny_tokenizer, 12, 0)
    assert task.labels == ("2", "9", "10")
    assert targets(task.splits["train"]) == [[2], [1], [0], [2]]


def test_declared_class_names_are_the_labels(tmp_path: Path, tiny_tokenizer: Any) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["food", "animals", "travel"])}
    )
    for split, labels in (("train", [0, 1]), ("test", [0, -1])):
        content = {"text": ["bread", "cat"], "label": labels}
        datasets.Dataset.from_dict(content, features=features).to_parquet(tmp_path / f"{split}.parquet")
    files = {split: str(tmp_path / f"{split}.parquet") for split in ("train", "test")}
    config = kinds.parse(
        {"name": "t", "text": "text", "label": "label", "data": {"path": "parquet", "data_files": files}}
    )
    task = tasks.load(config, tiny_tokenizer, 12, 0, ["train"])
    assert task.labels == ("food", "animals", "travel")
    assert any("'travel': 0 of 1 rows" in warning for warning in task.warnings)
    with pytest.raises(StudyFileError, match=r"row 1 of 'test' \(the first is 0\) has -1.*not public"):
        tasks.load(config, tiny_tokenizer, 12, 0, ["test"])


def test_texts_are_cut_and_keep_their_special_tokens(write: Any, tiny_tokenizer: Any) -> None:
    long = [row("cat " * 50, "a"), row("dog", "b")]
    split = tasks.load(write({"train": long, "validation": long}), tiny_tokenizer, 8, 0).splits["train"]
    cls, sep = tiny_tokenizer.cls_token_id, tiny_tokenizer.sep_token_id
    assert [len(ids) for ids in input_ids(split)] == [8, 3]
    assert all(ids[0] == cls and ids[-1] == sep for ids in input_ids(split))


def test_templates_and_pairs(write: Any, tiny_tokenizer: Any) -> None:
    rows = [{"a": "cat", "b": "dog", "c": "rice", "label": i} for i in (0, 1)]
    config = write({"train": rows, "validation": rows}, text="{a} the {b}", text_pair="c")
    split = tasks.load(config, tiny_tokenizer, 12, 0).splits["train"]
    assert tiny_tokenizer.decode(input_ids(split)[0]) == "[CLS] cat the dog [SEP] rice [SEP]"


def test_tokenizers_without_special_tokens_or_padding(write: Any) -> None:
    words = Tokenizer(models.WordLevel({"cat": 0, "dog": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    task = tasks.load(write(), PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?"), 4, 0)
    assert max(map(len, input_ids(task.splits["train"]))) == 4


def test_few_shot_and_samples_are_drawn_by_the_seed(write: Any, tiny_tokenizer: Any) -> None:
    config = write(few_shot=4, max_validation_samples=10, max_test_samples=7)
    task = tasks.load(config, tiny_tokenizer, 12, 0, ("train", "validation", "test"))
    assert Counter(t for (t,) in targets(task.splits["train"])) == {0: 4, 1: 4, 2: 4}
    assert [len(task.splits[split]) for split in ("validation", "test")] == [10, 7]
    again = tasks.load(config, tiny_tokenizer, 12, 0, ("test",))
    assert again.splits["test"].rows == task.splits["test"].rows
    assert again.splits["test"].sha256 == task.splits["test"].sha256
    other = tasks.load(config, tiny_tokenizer, 12, 1)
    assert other.splits["train"].sha256 != task.splits["train"].sha256


def test_validation_is_cut_from_train_where_it_has_no_split(write: Any, tiny_tokenizer: Any) -> None:
    task = tasks.load(write(source={"validation_split": None}), tiny_tokenizer, 12, 0)
    train, validation = (
        Counter(t for (t,) in targets(task.splits[split])) for split in ("train", "validation")
    )
    assert train == {0: 16, 1: 16, 2: 16}
    assert validation == {0: 4, 1: 4, 2: 4}
    assert task.warnings == ()


def test_the_test_split_is_not_opened_unless_asked_for(
    write: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    read = sources._OwnFile.read

    def spy(self: Any, split: str, *rest: Any) -> Any:
        opened.append(split)
        return read(self, split, *rest)

    monkeypatch.setattr(sources._OwnFile, "read", spy)
    config = write()
    tasks.load(config, tiny_tokenizer, 12, 0)
    assert opened == ["train", "validation"]
    assert tasks.load(config, tiny_tokenizer, 12, 0, ["test"]).labels == ("animals", "food", "travel")
    assert opened == ["train", "validation", "train", "test"]


def test_rows_that_are_in_two_splits_are_counted(write: Any, tiny_tokenizer: Any) -> None:
    rows = [row("cat", "a"), row("dog", "b"), row("bird", "a")]
    task = tasks.load(write({"train": rows[:2], "validation": rows}), tiny_tokenizer, 12, 0)
    assert task.warnings == ("2 of 3 rows of validation are in train too",)


def test_too_few_rows_of_a_class_are_told(write: Any, tiny_tokenizer: Any) -> None:
    rows = [row("cat", "a"), row("dog", "b"), row("bird", "a")]
    task = tasks.load(
        write({"train": rows, "validation": [row("map", "a")]}, few_shot=2), tiny_tokenizer, 12, 0
    )
    assert task.warnings == ("label 'b': 1 of 2 rows found in train",)


GOOD = [row("cat", "a"), row("dog", "b")]


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [
        (
            GOOD,
            [row("cat", "c")],
            r"label: row 0 of 'validation' .* has 'c', which is not a label of 'train': a, b",
        ),
        (GOOD, [row("cat", None)], r"label: row 0 of 'validation' .* has no label"),
        (GOOD, [*GOOD, row(" ", "a")], r"text: row 2 of 'validation' .* has no text in text"),
        ([*GOOD, row(None, "a")], GOOD, r"text: row 2 of 'train' .* has no text in text"),
        ([*GOOD, row(["cat"], "a")], GOOD, r"text: text must hold text; row 2 of 'train'"),
        ([row("cat", "a")], GOOD, r"label: must have at least two values in 'train'; it has only 'a'"),
        ([row("cat", 0.5)], GOOD, r"label: must be text or whole numbers; row 0 .* has 0.5"),
        ([row("cat", ["a"])], GOOD, r"label: must be text or whole numbers"),
        (
            [row("cat", f"id {i}") for i in range(30)],
            GOOD,
            r"must be a column of classes; 'label' has 30 different values",
        ),
        (GOOD, [], r"data.validation_split: split 'validation' has no rows"),
    ],
)
def test_mistakes_in_the_data(
    write: Any, tiny_tokenizer: Any, train: Rows, validation: Rows, expected: str
) -> None:
    with pytest.raises(StudyFileError, match=expected):
        tasks.load(write({"train": train, "validation": validation}), tiny_tokenizer, 12, 0)


def test_a_split_too_small_to_be_cut(write: Any, tiny_tokenizer: Any) -> None:
    config = write({"train": GOOD}, source={"validation_split": None})
    with pytest.raises(StudyFileError, match=r"data\.validation_fraction: leaves no rows"):
        tasks.load(config, tiny_tokenizer, 12, 0)


def test_no_test_split(write: Any, tiny_tokenizer: Any) -> None:
    with pytest.raises(StudyFileError, match=r"data\.test_split: must name a split"):
        tasks.load(write(source={"test_split": None}), tiny_tokenizer, 12, 0, ["test"])


def test_count_is_of_the_data(write: Any) -> None:
    config = write(max_test_samples=3)
    assert tasks.count(config, "test") == 30
    with pytest.raises(StudyFileError, match=r"label: no column 'lable'"):
        tasks.count(write(label="lable"), "test")


def test_a_pair_has_token_types_where_the_tokenizer_makes_them(write: Any, tiny_tokenizer: Any) -> None:
    rows = [{"a": "cat dog", "c": "rice", "label": i} for i in (0, 1)]
    config = write({"train": rows, "validation": rows}, text="a", text_pair="c")
    assert tasks.load(config, tiny_tokenizer, 12, 0).splits["train"].rows[0].token_type_ids is None
    tiny_tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    (first, _) = tasks.load(config, tiny_tokenizer, 12, 0).splits["train"].rows
    assert first.token_type_ids == [0, 0, 0, 0, 1, 1]
