"""Sequence classification: a label for a text or a pair of texts; several labels; or a number.

Example row: {"title": "Ink helps drive democracy", "body": "The Kyrgyz Republic ...", "topic": "tech"} with
`text: "{title} {body}"` and `label: topic`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, pstdev
from typing import Any, ClassVar

import torch
from scipy import stats
from sklearn import metrics
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from methods.backbone.shape import Architecture
from methods.heads import written
from methods.heads.written import WrittenError
from search import errors
from search.config.task_config import SequenceClassificationConfig
from search.config.values import template_columns
from search.errors import StudyFileError
from search.tasks import labels as tasks_labels
from search.tasks import sources
from search.tasks.splits import Splits, repeated, split_name, texts
from search.tasks.task import Evaluation, Row, Split, Task, encode_text, label_words


@dataclass(frozen=True)
class Text:
    """A row before tokenization: its text, the second one if there is, and its targets."""

    text: str
    pair: str | None
    targets: list[int] | list[float]


class SequenceClassification(Task):
    """A task of whole texts; each kind of label has a class of its own."""

    kind: ClassVar[str] = "sequence_classification"
    problem_type: ClassVar[str]

    @property
    def settings(self) -> dict[str, Any]:
        return {"problem_type": self.problem_type}

    def loss(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
        logits_BC = torch.cat(list(logits))
        return self._loss(logits_BC, torch.tensor([row.targets for row in rows], device=logits_BC.device))

    def evaluate(
        self, split: Split, kept: Sequence[Tensor], written: Sequence[Sequence[int]] | None = None
    ) -> Evaluation:
        logits_NC = torch.cat(list(kept))
        if not bool(torch.isfinite(logits_NC).all()):
            return Evaluation(math.nan)
        return self._evaluate(logits_NC, torch.tensor([row.targets for row in split.rows]))

    @abstractmethod
    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """Loss of each row `[B]`; targets `[B, 1]`, or `[B, C]` of several labels."""

    @abstractmethod
    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        """Scores finite logits."""


@dataclass(frozen=True, kw_only=True)
class OneLabel(SequenceClassification):
    """One label per text: cross-entropy, and accuracy, macro F1 or Matthews correlation.

    Attributes:
        verbalizer: of each label, the token that the language model scores; empty where a head is trained.
    """

    problem_type: ClassVar[str] = "single_label_classification"

    verbalizer: tuple[int, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "verbalizer": list(self.verbalizer)}

    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits_BC, targets[:, 0], reduction="none")

    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        given, right = logits_NC.argmax(1).tolist(), targets[:, 0].tolist()
        hits = [float(got == target) for got, target in zip(given, right, strict=True)]
        scores = {
            "accuracy": float(metrics.accuracy_score(right, given)),
            "macro_f1": float(metrics.f1_score(right, given, average="macro", zero_division=0)),
            "matthews_correlation": float(metrics.matthews_corrcoef(right, given)),
        }
        return Evaluation(
            scores.pop(self.metric),
            scores,
            [self.labels[number] for number in right],
            [self.labels[number] for number in given],
            hits if self.metric == "accuracy" else None,
        )


class SeveralLabels(SequenceClassification):
    """Any number of labels per text: binary cross-entropy of each, and macro F1, or accuracy of the whole set."""

    problem_type: ClassVar[str] = "multi_label_classification"

    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(
            logits_BC, targets.to(logits_BC.dtype), reduction="none"
        ).mean(1)

    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        given, right = (logits_NC > 0).int(), targets.int()
        hits = (given == right).all(1).float().tolist()
        scores = {
            "accuracy": float(metrics.accuracy_score(right, given)),
            "macro_f1": float(metrics.f1_score(right, given, average="macro", zero_division=0)),
        }
        return Evaluation(
            scores.pop(self.metric),
            scores,
            [self._names(row) for row in right.tolist()],
            [self._names(row) for row in given.tolist()],
            hits if self.metric == "accuracy" else None,
        )

    def _names(self, row: Sequence[int]) -> str:
        return ", ".join(name for name, there in zip(self.labels, row, strict=True) if there)


@dataclass(frozen=True, kw_only=True)
class Regression(SequenceClassification):
    """A number per text: squared error, and Pearson's or Spearman's correlation.

    The head's output is in standard deviations of the training rows from their mean.
    """

    problem_type: ClassVar[str] = "regression"

    mean: float
    deviation: float

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "mean": self.mean, "deviation": self.deviation}

    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        wanted = (targets[:, 0] - self.mean) / self.deviation
        return nn.functional.mse_loss(logits_BC[:, 0], wanted.to(logits_BC.dtype), reduction="none")

    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        given = [self.mean + self.deviation * value for value in logits_NC[:, 0].tolist()]
        right = targets[:, 0].tolist()
        # A constant has no correlation: as good as none.
        constant = len(set(given)) < 2 or len(set(right)) < 2
        scores = {
            "pearson": 0.0 if constant else float(stats.pearsonr(right, given).statistic),
            "spearman": 0.0 if constant else float(stats.spearmanr(right, given).statistic),
        }
        error = math.sqrt(fmean((got - value) ** 2 for got, value in zip(given, right, strict=True)))
        return Evaluation(
            scores.pop(self.metric),
            {**scores, "rmse": error},
            [f"{value:g}" for value in right],
            [f"{value:g}" for value in given],
        )


def load(
    config: SequenceClassificationConfig,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    seed: int,
    splits: Sequence[str],
    architecture: Architecture,
) -> SequenceClassification:
    """The task with the splits asked for; see `search.tasks.load`."""
    source = Splits(config, _columns(config), seed)
    labels = tasks_labels.of(config, source.train, source.name("train"))
    rows = {split: _rows(config, source, labels, split) for split in {"train": None, **dict.fromkeys(splits)}}
    tokenize = partial(_tokenize, tokenizer=tokenizer, max_length=max_length)
    if config.verbalizer is not None:
        tokenize = partial(_tokenize_scored, tokenizer, max_length, architecture)
    common: dict[str, Any] = {
        "name": config.name,
        "metric": config.metric,
        "labels": labels.names,
        "label_ids": label_words(labels.names, tokenizer),
        "splits": {split: tokenize(rows[split], split) for split in splits},
        "encode": partial(encode_text, tokenizer),
        "warnings": (
            *labels.warnings([row.targets for row in rows["train"]], config.few_shot),
            *repeated(
                {split: [(row.text, row.pair) for row in rows[split]] for split in splits},
                [(row.text, row.pair) for row in rows["train"]],
            ),
        ),
    }
    match config.problem_type:
        case "single_label_classification":
            return OneLabel(**common, verbalizer=_words(config, labels.names, tokenizer))
        case "multi_label_classification":
            return SeveralLabels(**common)
        case "regression":
            numbers = [float(target) for row in rows["train"] for target in row.targets]
            return Regression(**common, mean=fmean(numbers), deviation=pstdev(numbers) or 1.0)


def count(config: SequenceClassificationConfig, split: str) -> int:
    """Rows of a split in the data; see `search.tasks.count`."""
    name, field = split_name(config, split)
    return sources.open_source(config.data).count(name, _columns(config), field)


def _columns(config: SequenceClassificationConfig) -> dict[str, str]:
    """Each column that the task reads to the place in the study file that names it."""
    columns = dict.fromkeys(template_columns(config.text), "text")
    if config.text_pair:
        columns |= dict.fromkeys(template_columns(config.text_pair), "text_pair")
    return columns | {config.label: "label"}


def _rows(
    config: SequenceClassificationConfig, source: Splits, labels: tasks_labels.Labels, split: str
) -> list[Text]:
    """The rows of a split that are used, in the order of the data."""
    where, table = source.name(split), source.table(split)
    targets = labels.targets(table, where)
    numbers = source.draw(split, len(table), labels.classes(targets), config.few_shot)
    first = texts(config.text, table, "text", where, numbers)
    second: Sequence[str | None] = [None] * len(numbers)
    if config.text_pair:
        second = texts(config.text_pair, table, "text_pair", where, numbers)
    return [
        Text(text, pair, targets[number]) for text, pair, number in zip(first, second, numbers, strict=True)
    ]


def _words(
    config: SequenceClassificationConfig, names: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> tuple[int, ...]:
    """The verbalizer's tokens, in the order of the labels."""
    if config.verbalizer is None:
        return ()
    if set(config.verbalizer) != set(names):
        raise StudyFileError(
            f"verbalizer: must have a word for each of the labels {', '.join(names)}, and for nothing else; "
            f"got {', '.join(config.verbalizer)}"
        )
    tokens = [written.word(tokenizer, config.verbalizer[name]) for name in names]
    if len(set(tokens)) < len(tokens) or tokenizer.unk_token_id in tokens:
        shown = ", ".join(
            f"{config.verbalizer[name]} ({tokenizer.convert_ids_to_tokens(token)})"
            for name, token in zip(names, tokens, strict=True)
        )
        raise StudyFileError(
            f"verbalizer: words must begin with different tokens that the model knows; got {shown}"
        )
    return tuple(tokens)


def _tokenize_scored(
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    architecture: Architecture,
    rows: Sequence[Text],
    split: str,
) -> Split:
    """Rows that are read where the verbalizer's words are scored."""
    made = []
    try:
        for row in rows:
            ids, place = written.scored(tokenizer, row.text, max_length, architecture)
            made.append(Row(ids, row.targets, [place]))
    except WrittenError as error:
        raise StudyFileError(f"{error} in {split}") from error
    return Split(made, sources.fingerprint((row.text, *map(str, row.targets)) for row in rows))


def _tokenize(rows: Sequence[Text], split: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Split:
    pairs = [row.pair or "" for row in rows] if any(row.pair is not None for row in rows) else None
    encoded = tokenizer(
        [row.text for row in rows], pairs, truncation=True, max_length=max_length, padding=False
    )
    types = encoded.get("token_type_ids") if pairs else None
    made = []
    for number, (row, ids) in enumerate(zip(rows, encoded["input_ids"], strict=True)):
        if not ids:
            raise StudyFileError(f"text: the tokenizer makes no token of {errors.show(row.text)} in {split}")
        mine = types[number] if types and any(types[number]) else None
        made.append(Row(ids, row.targets, token_type_ids=mine))
    return Split(made, sources.fingerprint((row.text, row.pair, *map(str, row.targets)) for row in rows))
