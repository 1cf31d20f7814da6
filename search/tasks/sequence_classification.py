"""Sequence classification: one label for a text or a pair of texts.

Example row: {"title": "Ink helps drive democracy", "body": "The Kyrgyz Republic ...", "topic": "tech"} with
`text: "{title} {body}"` and `label: topic`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from sklearn import metrics
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from search import data, messages
from search.config import TaskConfig
from search.data import Source, Table
from search.errors import StudyFileError
from search.tasks.splits import draw, split_name
from search.tasks.task import Split, Task, encode_text, label_words
from search.values import template_columns

_FEW_LABELS = 20

Label = str | int | bool


@dataclass(frozen=True)
class Text:
    """A row before tokenization: its text, the second one if there is, and the number of its label."""

    text: str
    pair: str | None
    target: int


class SequenceClassification(Task):
    """One label per text: cross-entropy, and accuracy, macro F1 or Matthews correlation."""

    kind: ClassVar[str] = "sequence_classification"

    def loss(self, logits_XC: Tensor, target_X: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits_XC, target_X, reduction="none")

    def score(self, logits: list[Tensor], targets: list[list[int]]) -> tuple[float, list[float] | None]:
        logits_NC = torch.cat(logits)
        if not bool(torch.isfinite(logits_NC).all()):
            return math.nan, None
        return self._score(logits_NC.argmax(1).tolist(), [target for (target,) in targets])

    def answer(self, targets: list[int]) -> str:
        (target,) = targets
        return self.labels[target]

    def _score(self, predictions: list[int], targets: list[int]) -> tuple[float, list[float] | None]:
        if self.metric == "macro_f1":
            return float(metrics.f1_score(targets, predictions, average="macro", zero_division=0)), None
        if self.metric == "matthews_correlation":
            return float(metrics.matthews_corrcoef(targets, predictions)), None
        hits = [float(got == target) for got, target in zip(predictions, targets, strict=True)]
        return float(metrics.accuracy_score(targets, predictions)), hits


def load(
    config: TaskConfig, tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int, splits: Sequence[str]
) -> SequenceClassification:
    """The task with the splits asked for; see `search.tasks.load`."""
    reader = _Reader(config, seed)
    rows = {split: reader.rows(split) for split in splits}
    return SequenceClassification(
        name=config.name,
        metric=config.metric,
        labels=reader.labels,
        label_ids=label_words(reader.labels, tokenizer),
        splits={
            split: _tokenize(texts, tokenizer, max_length, split, config) for split, texts in rows.items()
        },
        encode=partial(encode_text, tokenizer),
        warnings=tuple(_warnings(config, reader.labels, rows, reader.rows("train"))),
    )


def count(config: TaskConfig, split: str) -> int:
    """Rows of a split in the data; see `search.tasks.count`."""
    name, field = split_name(config, split)
    return data.open_source(config.data).count(name, _columns(config), field)


class _Reader:
    """Reads a task's splits, and draws the rows that are used."""

    def __init__(self, config: TaskConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._source: Source = data.open_source(config.data)
        self._train = self._read("train")
        self._values = _label_values(self._train, config)
        self.labels = tuple(self._values.values())

    def rows(self, split: str) -> list[Text]:
        """The rows of a split that are used, in the order of the data."""
        config = self._config
        where, _ = split_name(config, split)
        table = self._train if where == config.data.train_split else self._read(split)
        targets = _targets(table, config, self._values, where)
        numbers = draw(config, self._seed, split, targets)
        chosen = table.select(numbers)
        texts = _render(config.text, chosen, "text", where, numbers)
        pairs = _render(config.text_pair, chosen, "text_pair", where, numbers) if config.text_pair else None
        return [
            Text(text, pairs[i] if pairs else None, targets[number])
            for i, (text, number) in enumerate(zip(texts, numbers, strict=True))
        ]

    def _read(self, split: str) -> Table:
        name, field = split_name(self._config, split)
        return self._source.read(name, _columns(self._config), field)


def _columns(config: TaskConfig) -> dict[str, str]:
    """Each column that the task reads to the place in the study file that names it."""
    columns = dict.fromkeys(template_columns(config.text), "text")
    if config.text_pair:
        columns |= dict.fromkeys(template_columns(config.text_pair), "text_pair")
    return columns | {config.label: "label"}


def _label_values(train: Table, config: TaskConfig) -> dict[Label, str]:
    """Each value of the label's column to the label's name, in the order of the targets."""
    declared = train.class_names.get(config.label)
    if declared is not None:
        return dict(enumerate(declared))
    split = config.data.train_split
    values = {_label(value, split, row) for row, value in enumerate(train.columns[config.label])}
    if len(values) < 2:
        only = messages.show(next(iter(values)))
        raise StudyFileError(f"label: must have two values or more in {split!r}; it has {only} alone")
    if len(values) > max(_FEW_LABELS, len(train) // 2):
        raise StudyFileError(
            f"label: must be a column of classes; {config.label!r} has {len(values)} values in the "
            f"{len(train)} rows of {split!r}"
        )
    return {value: str(value) for value in sorted(values, key=lambda value: (isinstance(value, str), value))}


def _label(value: Any, split: str, row: int) -> Label:
    if value is None or value == "":
        raise StudyFileError(f"label: row {row} of {split!r} (the first is 0) has no label")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str | int):
        raise StudyFileError(
            f"label: must be text or whole numbers; row {row} of {split!r} (the first is 0) has "
            f"{messages.show(value)}"
        )
    return value


def _targets(table: Table, config: TaskConfig, values: Mapping[Label, str], split: str) -> list[int]:
    """The number of each row's label."""
    numbers = {value: number for number, value in enumerate(values)}
    targets = []
    for row, given in enumerate(table.columns[config.label]):
        value = _label(given, split, row)
        if value not in numbers:
            advice = "; the labels of this split are not public" if value == -1 else ""
            raise StudyFileError(
                f"label: row {row} of {split!r} (the first is 0) has {messages.show(value)}, which is no "
                f"label of {config.data.train_split!r}: {', '.join(values.values())}{advice}"
            )
        targets.append(numbers[value])
    return targets


def _render(template: str, table: Table, field: str, split: str, numbers: Sequence[int]) -> list[str]:
    """The text of each row."""
    names = template_columns(template)
    texts = []
    for row, number in enumerate(numbers):
        values = {name: table.columns[name][row] for name in names}
        wrong = [name for name, value in values.items() if not isinstance(value, str | int | float | None)]
        if wrong:
            raise StudyFileError(
                f"{field}: {wrong[0]} must hold text; row {number} of {split!r} (the first is 0) has "
                f"{messages.show(values[wrong[0]])}"
            )
        empty = [name for name, value in values.items() if value is None]
        text = str(values[template]) if template in values else template.format_map(values)
        if empty or not text.strip():
            raise StudyFileError(
                f"{field}: row {number} of {split!r} (the first is 0) has no text in "
                f"{' and '.join(empty or names)}; remove such rows"
            )
        texts.append(text)
    return texts


def _tokenize(
    rows: Sequence[Text], tokenizer: PreTrainedTokenizerBase, max_length: int, split: str, config: TaskConfig
) -> Split:
    pairs = [row.pair or "" for row in rows] if config.text_pair else None
    input_ids: list[list[int]] = tokenizer(
        [row.text for row in rows], pairs, truncation=True, max_length=max_length, padding=False
    )["input_ids"]
    for ids, row in zip(input_ids, rows, strict=True):
        if not ids:
            raise StudyFileError(
                f"text: the tokenizer makes no token of {messages.show(row.text)} in {split}"
            )
    sha256 = data.fingerprint((row.text, row.pair, str(row.target)) for row in rows)
    return Split(input_ids, [[row.target] for row in rows], sha256)


def _warnings(
    config: TaskConfig, labels: Sequence[str], rows: Mapping[str, Sequence[Text]], train: Sequence[Text]
) -> list[str]:
    found = []
    counts = Counter(row.target for row in train)
    for target, label in enumerate(labels):
        wanted = config.few_shot or 1
        if counts[target] < wanted:
            found.append(f"label {label!r} has {counts[target]} of {wanted} rows in train")
    trained = {(row.text, row.pair) for row in train}
    for split, texts in rows.items():
        same = sum((row.text, row.pair) in trained for row in texts)
        if split != "train" and same:
            found.append(f"{same} of {len(texts)} rows of {split} are in train too")
    return found
