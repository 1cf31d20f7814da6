"""Token classification: a label for each word.

Example row: {"words": ["Ink", "helps", "Apple"], "tags": ["O", "O", "B-ORG"]} with `text: words` and `label: tags`. Every
word's first piece is read; words beyond `model.max_length` are not, and `check` says how many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from seqeval.metrics import f1_score as entity_f1
from sklearn import metrics
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from methods import words as methods_words
from search import data, messages
from search.config import TaskConfig
from search.data import Table
from search.errors import StudyFileError
from search.tasks import splits as tasks_splits
from search.tasks.task import Split, Task, encode_text, label_words


@dataclass(frozen=True)
class Sentence:
    """A row before tokenization: its words, and the number of each one's tag."""

    words: list[str]
    targets: list[int]


class TokenClassification(Task):
    """One label per word: cross-entropy; entity F1 (seqeval), or accuracy or macro F1 over words.

    None of these is a mean over rows, so no score of single rows is kept.
    """

    kind: ClassVar[str] = "token_classification"

    def loss(self, logits_XC: Tensor, target_X: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits_XC, target_X, reduction="none")

    def score(self, logits: list[Tensor], targets: list[list[int]]) -> tuple[float, list[float] | None]:
        if not all(bool(torch.isfinite(row).all()) for row in logits):
            return math.nan, None
        predicted = [row.argmax(1).tolist() for row in logits]
        if self.metric == "entity_f1":
            names = [[[self.labels[tag] for tag in row] for row in rows] for rows in (targets, predicted)]
            return float(entity_f1(*names, zero_division=0)), None
        flat = [[tag for row in rows for tag in row] for rows in (targets, predicted)]
        if self.metric == "macro_f1":
            return float(metrics.f1_score(*flat, average="macro", zero_division=0)), None
        return float(metrics.accuracy_score(*flat)), None

    def answer(self, targets: list[int]) -> str:
        return " ".join(self.labels[target] for target in targets)


def load(
    config: TaskConfig, tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int, splits: Sequence[str]
) -> TokenClassification:
    """The task with the splits asked for; see `search.tasks.load`."""
    source = data.open_source(config.data)
    name, field = tasks_splits.split_name(config, "train")
    train = source.read(name, _columns(config), field)
    numbers = _tag_numbers(train, config)
    made, warnings = {}, []
    for split in splits:
        where, field = tasks_splits.split_name(config, split)
        table = train if where == config.data.train_split else source.read(where, _columns(config), field)
        rows = tasks_splits.draw(config, seed, split, [0] * len(table))
        sentences = [_sentence(table, config, row, where, numbers) for row in rows]
        made[split], unread = _tokenize(sentences, tokenizer, max_length, split)
        if unread:
            total = sum(len(sentence.words) for sentence in sentences)
            warnings.append(
                f"{unread} of {total} words of {split} are not read: cut by model.max_length, or no token"
            )
    labels = tuple(numbers)
    return TokenClassification(
        name=config.name,
        metric=config.metric,
        labels=labels,
        label_ids=label_words(labels, tokenizer),
        splits=made,
        encode=partial(encode_text, tokenizer),
        warnings=tuple(warnings),
    )


def count(config: TaskConfig, split: str) -> int:
    """Rows of a split in the data; see `search.tasks.count`."""
    name, field = tasks_splits.split_name(config, split)
    return data.open_source(config.data).count(name, _columns(config), field)


def _columns(config: TaskConfig) -> dict[str, str]:
    return {config.text: "text", config.label: "label"}


def _tag_numbers(train: Table, config: TaskConfig) -> dict[str, int]:
    """Each tag's number, in the order of their names."""
    split = config.data.train_split
    tags = {
        tag for row in range(len(train)) for tag in _list(train, config.label, "label", row, split, "tags")
    }
    if len(tags) < 2:
        raise StudyFileError(
            f"label: must have two tags or more in {split!r}; it has {', '.join(tags) or 'none'}"
        )
    if config.metric == "entity_f1":
        for tag in sorted(tags):
            if tag != "O" and tag[:2] not in ("B-", "I-"):
                raise StudyFileError(
                    f"label: entity_f1 needs tags of the IOB scheme, O, B-... and I-...; {split!r} has {tag!r}. "
                    "Use metric: macro_f1"
                )
    return {tag: number for number, tag in enumerate(sorted(tags))}


def _sentence(table: Table, config: TaskConfig, row: int, split: str, numbers: Mapping[str, int]) -> Sentence:
    words = _list(table, config.text, "text", row, split, "words")
    tags = _list(table, config.label, "label", row, split, "tags")
    if len(words) != len(tags):
        raise StudyFileError(
            f"label: row {row} of {split!r} (the first is 0) has {len(words)} words and {len(tags)} tags"
        )
    unknown = next((tag for tag in tags if tag not in numbers), None)
    if unknown is not None:
        raise StudyFileError(
            f"label: row {row} of {split!r} (the first is 0) has {messages.show(unknown)}, which is no tag of "
            f"{config.data.train_split!r}: {', '.join(numbers)}"
        )
    return Sentence(words, [numbers[tag] for tag in tags])


def _list(table: Table, column: str, field: str, row: int, split: str, what: str) -> list[str]:
    """A row's words, or its tags (by their names where the data set declares them)."""
    value: Any = table.columns[column][row]
    declared = table.class_names.get(column)
    if declared is not None and isinstance(value, list):
        value = [declared[number] for number in value]
    if not isinstance(value, list) or not value or not all(isinstance(part, str) and part for part in value):
        raise StudyFileError(
            f"{field}: {column} must hold a list of {what}; row {row} of {split!r} (the first is 0) has "
            f"{messages.show(value)}"
        )
    return value


def _tokenize(
    sentences: Sequence[Sentence], tokenizer: PreTrainedTokenizerBase, max_length: int, split: str
) -> tuple[Split, int]:
    """The split, and how many words are not read."""
    try:
        encoded = methods_words.encode(tokenizer, [sentence.words for sentence in sentences], max_length)
    except methods_words.WordsError as error:
        raise StudyFileError(f"text: {error}") from error
    input_ids, read, targets, unread = [], [], [], 0
    for sentence, (ids, positions) in zip(sentences, encoded, strict=True):
        there = [(at, tag) for at, tag in zip(positions, sentence.targets, strict=True) if at is not None]
        if not there:
            raise StudyFileError(
                f"text: the tokenizer makes no token of {messages.show(' '.join(sentence.words))} in {split}"
            )
        input_ids.append(ids)
        read.append([at for at, _ in there])
        targets.append([tag for _, tag in there])
        unread += len(positions) - len(there)
    sha256 = data.fingerprint((*s.words, *map(str, s.targets)) for s in sentences)
    return Split(input_ids, targets, sha256, read), unread
