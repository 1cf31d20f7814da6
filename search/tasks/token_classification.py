"""Token classification: a label for each word.

Example row: {"words": ["Ink", "helps", "Apple"], "tags": ["O", "O", "B-ORG"]} with `text: words` and `label: tags`.
The head reads the first token of each word. Words beyond `model.max_length` are not read; `check` says how many.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from methods.heads import words as methods_words
from search import errors
from search.config.task_config import TaskConfig
from search.errors import StudyFileError
from search.tasks import groups, sources
from search.tasks.sources import Table
from search.tasks.splits import Splits, count_rows, place, repeated
from search.tasks.task import Evaluation, Row, Split, Task, Trivial, encode_text, label_words

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from methods.backbone.shape import Architecture


class Config(TaskConfig):
    """A label for each word: named entities, slots, parts of speech."""

    example = {"name": "entities", "kind": "token_classification"}

    kind: Literal["token_classification"] = Field(description="Kind of task")
    text: str = Field(default="words", description="Column with the list of words (in conll files: words)")
    label: str = Field(
        default="tags", description="Column with the list of their tags (in conll files: tags)"
    )
    metric: Literal["entity_f1", "accuracy", "macro_f1"] = Field(
        default="entity_f1", description="Metric to maximize; entity_f1 (seqeval) compares whole entities"
    )

    @field_validator("text")
    @classmethod
    def _a_column(cls, value: str) -> str:
        if "{" in value:
            raise ValueError("must be the column with the list of words, not a template")
        return value

    @property
    def request(self) -> dict[str, str]:
        return {"text": "Ada lives in London ."}

    @property
    def answer_type(self) -> Literal["text", "texts", "number"]:
        return "texts"


@dataclass(frozen=True)
class Sentence:
    """A row before tokenization: its words, the numbers of their tags, and its group."""

    words: list[str]
    targets: list[int]
    group: str | None


class TokenClassification(Task):
    """One label per word: cross-entropy; entity F1 (seqeval), or accuracy or macro F1 over words.

    Entity F1 is also given for each type.
    """

    kind: ClassVar[str] = "token_classification"
    answer: ClassVar[str] = "tags"

    def loss(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
        import torch

        logits_XC = torch.cat(list(logits))
        targets = torch.tensor([target for row in rows for target in row.targets], device=logits_XC.device)
        return torch.nn.functional.cross_entropy(logits_XC, targets, reduction="none")

    def evaluate(
        self, split: Split, kept: Sequence[Tensor], written: Sequence[Sequence[int]] | None = None
    ) -> Evaluation:
        import torch

        if not all(bool(torch.isfinite(row).all()) for row in kept):
            return Evaluation(math.nan)
        return self._scored(split, [[self.labels[tag] for tag in row.argmax(1).tolist()] for row in kept])

    def trivial(self, train: Split, split: Split) -> Trivial | None:
        counts = Counter(self.labels[int(tag)] for row in train.rows for tag in row.targets)
        entities = self.metric == "entity_f1"
        most = "O" if entities else max(sorted(counts), key=lambda tag: counts[tag])
        answer = "no entities" if entities else f"always {most!r}"
        return Trivial(answer, self._scored(split, [[most] * len(row.targets) for row in split.rows]))

    def _scored(self, split: Split, given: list[list[str]]) -> Evaluation:
        """Scores the tags of each row's words."""
        from search.metrics import words

        right = [[self.labels[int(tag)] for tag in row.targets] for row in split.rows]
        scores, types = {"accuracy": words.accuracy(right, given)}, {}
        if self.metric == "entity_f1":
            scores["entity_f1"], found = words.entity_f1(right, given)
            types = {f"f1_{kind}": value for kind, value in found.items()}
        else:
            scores["macro_f1"] = words.macro_f1(right, given)
        targets, predictions = ([" ".join(row) for row in rows] for rows in (right, given))
        return self.evaluation(scores, targets, predictions, types)


def load(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    seed: int,
    splits: Sequence[str],
    architecture: Architecture,
) -> TokenClassification:
    """Loads a task with the given splits; see `search.tasks.load`."""
    source = Splits(config, _columns(config), seed)
    numbers = _tag_numbers(source.train, config)
    made, warnings, used, named = {}, [], {}, {}
    for split in {"train": None, **dict.fromkeys(splits)}:
        table, where = source.table(split), source.name(split)
        drawn = source.draw(split, len(table))
        named[split] = groups.named(config, table, where, drawn)
        sentences = [
            _sentence(table, config, row, where, numbers, group)
            for row, group in zip(drawn, named[split], strict=True)
        ]
        used[split] = [tuple(sentence.words) for sentence in sentences]
        if split not in splits:
            continue
        made[split], unread = _tokenize(sentences, tokenizer, max_length, split)
        if unread:
            total = sum(len(sentence.words) for sentence in sentences)
            warnings.append(
                f"{unread} of {total} words of {split} are not read: they are beyond model.max_length or have no token"
            )
    labels = tuple(numbers)
    return TokenClassification(
        name=config.name,
        metric=config.metric,
        labels=labels,
        label_ids=label_words(labels, tokenizer),
        splits=made,
        encode=partial(encode_text, tokenizer),
        warnings=(
            *warnings,
            *repeated({split: used[split] for split in splits}, used["train"]),
            *groups.shared({split: named[split] for split in splits}, named["train"]),
        ),
    )


def count(config: Config, split: str) -> int:
    """Counts the rows of a split in the data; see `search.tasks.count`."""
    return count_rows(config, split, _columns(config))


def _columns(config: Config) -> dict[str, str]:
    return {config.text: "text", config.label: "label"}


def _tag_numbers(train: Table, config: Config) -> dict[str, int]:
    """The number of each tag, in the order of their names."""
    split = config.data.train_split
    first: dict[str, int] = {}  # the first row of each tag
    for row in range(len(train)):
        for tag in _list(train, config.label, "label", row, split, "tags"):
            first.setdefault(tag, row)
    tags = first.keys()
    if len(tags) < 2:
        raise StudyFileError(
            f"label: must have at least two tags in {split!r}; it has {', '.join(tags) or 'none'}"
        )
    if config.metric == "entity_f1":
        for tag, row in first.items():
            if tag != "O" and tag[:2] not in ("B-", "I-"):
                raise StudyFileError(
                    f"label: entity_f1 needs tags of the IOB scheme (O, B-..., I-...); {place(row, split)} has "
                    f"{tag!r}. Use metric: macro_f1"
                )
    return {tag: number for number, tag in enumerate(sorted(tags))}


def _sentence(
    table: Table, config: Config, row: int, split: str, numbers: Mapping[str, int], group: str | None
) -> Sentence:
    words = _list(table, config.text, "text", row, split, "words")
    tags = _list(table, config.label, "label", row, split, "tags")
    if len(words) != len(tags):
        raise StudyFileError(f"label: {place(row, split)} has {len(words)} words but {len(tags)} tags")
    unknown = next((tag for tag in tags if tag not in numbers), None)
    if unknown is not None:
        raise StudyFileError(
            f"label: {place(row, split)} has {errors.show(unknown)}, which is not a tag of "
            f"{config.data.train_split!r}: {', '.join(numbers)}"
        )
    return Sentence(words, [numbers[tag] for tag in tags], group)


def _list(table: Table, column: str, field: str, row: int, split: str, what: str) -> list[str]:
    """The words or the tags of a row; tags by name if the data set declares names.

    Raises:
        StudyFileError: the column does not hold a list of texts.
    """
    value: Any = table.columns[column][row]
    declared = table.class_names.get(column)
    if declared is not None and isinstance(value, list):
        value = [declared[number] for number in value]
    if not isinstance(value, list) or not value or not all(isinstance(part, str) and part for part in value):
        raise StudyFileError(
            f"{field}: {column} must hold a list of {what}; {place(row, split)} has {errors.show(value)}"
        )
    return value


def _tokenize(
    sentences: Sequence[Sentence], tokenizer: PreTrainedTokenizerBase, max_length: int, split: str
) -> tuple[Split, int]:
    """Tokenizes sentences; returns the split and how many words are not read."""
    try:
        encoded = methods_words.encode(tokenizer, [sentence.words for sentence in sentences], max_length)
    except methods_words.WordsError as error:
        raise StudyFileError(f"text: {error}") from error
    rows, unread = [], 0
    for sentence, (ids, positions) in zip(sentences, encoded, strict=True):
        there = [(at, tag) for at, tag in zip(positions, sentence.targets, strict=True) if at is not None]
        if not there:
            raise StudyFileError(
                f"text: the tokenizer makes no tokens from {errors.show(' '.join(sentence.words))} in {split}"
            )
        rows.append(Row(ids, [tag for _, tag in there], [at for at, _ in there]))
        unread += len(positions) - len(there)
    sha256 = sources.fingerprint((*s.words, *map(str, s.targets)) for s in sentences)
    return Split(rows, sha256, groups=groups.numbered([s.group for s in sentences])), unread
