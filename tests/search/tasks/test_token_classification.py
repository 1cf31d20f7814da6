"""A label for each word: what is read, what is scored, what can be wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import methods
from methods.backbone.backbone import Backbone
from methods.heads import words
from search import tasks
from search.config import kinds
from search.config.study_config import TrainingConfig
from search.errors import StudyFileError
from search.tasks import Row, Split
from search.tasks.token_classification import TokenClassification
from search.training.evaluation import predict
from search.training.steps.pack import Pack
from search.training.trial import Trial

ROWS = [
    {"words": ["cat", "bread", "the"], "tags": ["B-animal", "B-food", "O"]},
    {"words": ["dog"], "tags": ["B-animal"]},
    {"words": ["the", "rice", "cat", "fish"], "tags": ["O", "B-food", "B-animal", "B-animal"]},
]


def config(tmp_path: Path, rows: list[dict[str, Any]] = ROWS, held: Any = None, **settings: Any) -> Any:
    path = tmp_path / "rows.py"
    path.write_text(f"def splits(): return { ({'train': rows, 'validation': held or rows, 'test': rows})!r}")
    given = {
        "name": "t",
        "kind": "token_classification",
        "text": "words",
        "label": "tags",
        "metric": "macro_f1",
    }
    return kinds.parse({**given, "data": {"path": str(path), "validation_split": "validation"}, **settings})


def test_the_first_piece_of_each_word_is_read(tmp_path: Path, tiny_tokenizer: Any) -> None:
    task = tasks.load(config(tmp_path), tiny_tokenizer, 12, 0)
    assert task.labels == ("B-animal", "B-food", "O")
    split = task.splits["train"]
    by_text = {tiny_tokenizer.decode(row.input_ids): row for row in split.rows}
    row = by_text["[CLS] cat bread the [SEP]"]
    assert row.read == [1, 2, 3]
    assert row.targets == [0, 1, 2]


def test_words_of_several_pieces_and_of_none() -> None:
    """Byte pairs without a mark at the beginning of a word, as GPT-2's; a blank mark has no piece."""
    pieces = {"Ġ": 0, "a": 1, "b": 2, "ab": 3, "c": 4}
    plain = Tokenizer(models.BPE(pieces, [("a", "b")]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain)
    ((ids, positions),) = words.encode(tokenizer, [["ab", "abc", "c"]], 20)
    assert [tokenizer.convert_ids_to_tokens(ids)[at] for at in positions] == ["ab", "ab", "c"]
    ((ids, positions),) = words.encode(tokenizer, [["ab", "é", "c"]], 20)
    assert positions[1] is None, "no piece is made of it, and the labels do not shift"
    assert tokenizer.convert_ids_to_tokens(ids)[positions[2]] == "c"


def test_words_that_are_cut_are_not_read_and_counted(tmp_path: Path, tiny_tokenizer: Any) -> None:
    task = tasks.load(config(tmp_path), tiny_tokenizer, 4, 0)
    assert max(row.places for row in task.splits["train"].rows) == 2
    assert (
        task.warnings[0]
        == "3 of 8 words of train are not read: they are beyond model.max_length or have no token"
    )


def test_a_tokenizer_that_keeps_no_places_is_refused() -> None:
    with pytest.raises(words.WordsError, match="choose another model"):
        words.encode(object(), [["a"]], 4)


def made(metric: str, labels: tuple[str, ...] = ("B-x", "I-x", "O")) -> TokenClassification:
    return TokenClassification(
        name="t", metric=metric, labels=labels, label_ids=[[1]] * 3, splits={}, encode=lambda text: []
    )


def logits(*rows: list[int]) -> list[torch.Tensor]:
    return [torch.nn.functional.one_hot(torch.tensor(row), 3).float() for row in rows]


def test_scores() -> None:
    split = Split([Row([9, 9, 9], [0, 1, 2], [0, 1, 2]), Row([9, 9], [2, 0], [0, 1])], "")
    guesses = logits([0, 1, 2], [2, 2])
    accuracy = made("accuracy").evaluate(split, guesses)
    assert accuracy.score == 0.8
    # Without the first sentence 1 of 2 words is right, without the second 3 of 3.
    assert accuracy.examples == pytest.approx([2 * 0.8 - 0.5, 2 * 0.8 - 1])
    assert accuracy.targets == ["B-x I-x O", "O B-x"]
    assert accuracy.predictions == ["B-x I-x O", "O O"]
    # Entities: one of two found, none wrong: precision 1, recall 1/2.
    entities = made("entity_f1").evaluate(split, guesses)
    assert entities.score == pytest.approx(2 / 3)
    assert entities.metrics == {"f1_x": pytest.approx(2 / 3), "accuracy": 0.8}
    # B-x: precision 1, recall 1/2; I-x: 1; O: precision 2/3, recall 1.
    assert made("macro_f1").evaluate(split, guesses).score == pytest.approx((2 / 3 + 1 + 0.8) / 3)
    assert math.isnan(made("accuracy").evaluate(split, [guesses[0] * math.nan, guesses[1]]).score)


def test_entity_f1_of_each_type_is_seqevals_published_example() -> None:
    """The example of seqeval's README: MISC 0 of 1 found (one wrong), PER found: F1 0.50, MISC 0.00, PER 1.00."""
    names = ("B-MISC", "B-PER", "I-MISC", "I-PER", "O")
    right = ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    given = ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"]

    def numbers(row: str) -> list[int]:
        return [names.index(tag) for tag in row.split()]

    split = Split([Row([9] * 9, numbers(row), list(range(len(row.split())))) for row in right], "")
    outputs = [torch.nn.functional.one_hot(torch.tensor(numbers(row)), 5).float() for row in given]
    found = made("entity_f1", names).evaluate(split, outputs)
    assert found.score == pytest.approx(0.5)
    assert found.metrics["f1_MISC"] == 0
    assert found.metrics["f1_PER"] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": ["a", "b"], "tags": ["O"]}, r"label: row 3 of 'train' .* has 2 words but 1 tags"),
        ({"words": "a b", "tags": ["O", "O"]}, r"text: words must hold a list of words; row 3 .* has 'a b'"),
        ({"words": [], "tags": []}, r"must hold a list of .*; row 3 of 'train'"),
        ({"words": ["a"], "tags": [None]}, r"label: tags must hold a list of tags; row 3"),
    ],
)
def test_rows_that_cannot_be(row: dict[str, Any], message: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    with pytest.raises(StudyFileError, match=message):
        tasks.load(config(tmp_path, [*ROWS, row]), tiny_tokenizer, 12, 0)


def test_a_tag_that_train_does_not_know(tmp_path: Path, tiny_tokenizer: Any) -> None:
    held = [{"words": ["cat"], "tags": ["B-plant"]}]
    with pytest.raises(
        StudyFileError, match=r"row 0 of 'validation' .* 'B-plant', which is not a tag of 'train'"
    ):
        tasks.load(config(tmp_path, held=held), tiny_tokenizer, 12, 0)


def test_entities_need_the_iob_scheme(tmp_path: Path, tiny_tokenizer: Any) -> None:
    rows = [{"words": ["cat", "dog"], "tags": ["lower", "O"]}]
    with pytest.raises(StudyFileError, match=r"entity_f1 needs tags of the IOB scheme.*'lower'"):
        tasks.load(config(tmp_path, rows, metric="entity_f1"), tiny_tokenizer, 12, 0)
    assert tasks.load(config(tmp_path, metric="entity_f1"), tiny_tokenizer, 12, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"few_shot": 4}, "few_shot"),
        ({"text": "{words}"}, "not a template"),
        ({"text_pair": "words"}, "text_pair"),
        ({"metric": "matthews_correlation"}, "metric"),
        ({"kind": "sequence_classification", "metric": "entity_f1"}, "metric"),
    ],
)
def test_settings_of_another_kind_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=message):
        config(tmp_path, **settings)


@pytest.mark.parametrize("name", ["head_only", "prompt_tuning", "multitask", "lora"])
def test_it_trains_beside_a_task_of_texts(
    name: str, tmp_path: Path, tiny_model: Path, tiny_tokenizer: Any
) -> None:
    """Rows of both kinds in one batch; a word's logits do not depend on the padding beside it."""
    backbone = Backbone.load(str(tiny_model))
    tokens = tasks.load(config(tmp_path), tiny_tokenizer, 12, 0)
    (tmp_path / "texts").mkdir()
    rows = [{"text": "cat the dog", "label": "a"}, {"text": "bread", "label": "b"}] * 4
    (tmp_path / "texts" / "rows.py").write_text(f"def splits(): return { ({'train': rows, 'test': rows})!r}")
    texts = tasks.load(
        kinds.parse(
            {
                "name": "s",
                "text": "text",
                "label": "label",
                "data": {"path": str(tmp_path / "texts" / "rows.py")},
            }
        ),
        tiny_tokenizer,
        12,
        0,
    )
    module = methods.get(name)
    settings = TrainingConfig(max_steps=60, eval_steps=60, per_device_train_batch_size=4)
    given = {"learning_rate" if name == "head_only" else "head_learning_rate": 0.1}
    trial = Trial(module.Method, module.Config(**given), backbone, [tokens, texts], [0.5, 0.5], settings, 0)
    pack = Pack()
    pack.attach(trial)
    losses = [pack.step()[0] for _ in range(60)]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    split = tokens.splits["train"]
    together, alone = (predict(trial, 0, split, backbone, size) for size in (8, 1))
    for one, other, row in zip(together, alone, split.rows, strict=True):
        assert len(one) == len(row.targets)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert tokens.evaluate(split, together).score > 0.8


def test_tags_that_the_data_declares_by_number(tmp_path: Path, tiny_tokenizer: Any) -> None:
    import datasets

    names = ["O", "B-food", "B-animal"]
    features = datasets.Features(
        {
            "words": datasets.List(datasets.Value("string")),
            "tags": datasets.List(datasets.ClassLabel(names=names)),
        }
    )
    content = {"words": [["cat", "the"], ["bread"]], "tags": [[2, 0], [1]]}
    datasets.Dataset.from_dict(content, features=features).to_parquet(tmp_path / "train.parquet")
    file = str(tmp_path / "train.parquet")
    source = {
        "path": "parquet",
        "data_files": {"train": file, "validation": file},
        "validation_split": "validation",
    }
    given = {"name": "t", "kind": "token_classification", "text": "words", "label": "tags", "data": source}
    task = tasks.load(kinds.parse(given), tiny_tokenizer, 12, 0)
    answers = {" ".join(task.labels[tag] for tag in row.targets) for row in task.splits["train"].rows}
    assert answers == {"B-animal O", "B-food"}
