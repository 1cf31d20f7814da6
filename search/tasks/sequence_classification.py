"""Sequence classification: a label, several labels or a number for a text or a pair of texts.

Example row: {"title": "Ink helps drive democracy", "body": "The Kyrgyz Republic ...", "topic": "tech"} with
`text: "{title} {body}"` and `label: topic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from methods.heads import written
from methods.heads.written import WrittenError
from search import errors
from search.config.task_config import TaskConfig
from search.config.values import Template, filled, template_columns
from search.errors import StudyFileError
from search.tasks import groups, sources
from search.tasks.label_problems import OneLabel, Regression, SequenceClassification, SeveralLabels
from search.tasks.labels import Labels, read_labels
from search.tasks.splits import Splits, count_rows, repeated, texts
from search.tasks.task import Row, Split, encode_text, label_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from methods.backbone.shape import Architecture


class Config(TaskConfig):
    """A label, several labels or a number for a text or a pair of texts."""

    example = {"name": "topics", "text": "text", "label": "label"}

    kind: Literal["sequence_classification"] = Field(
        default="sequence_classification", description="Kind of task"
    )
    text: Template = Field(description='Column of the text, or a template such as "{title} {body}"')
    text_pair: Template | None = Field(
        default=None, description="Column of the second text of a pair, or a template"
    )
    label: str = Field(description="Column of the label, of the list of labels, or of the number")
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] = Field(
        default="single_label_classification", description="What the label column holds"
    )
    verbalizer: dict[str, str] | None = Field(
        default=None,
        validate_default=True,
        description="A word for each label, which the language model scores instead of a trained head: in a decoder after "
        'the text, in a masked model at the mask token, as in text: "{review} It was [MASK]."',
    )
    metric: Literal["accuracy", "macro_f1", "matthews_correlation", "pearson", "spearman"] = Field(
        default="accuracy", validate_default=True, description="Metric to maximize"
    )
    few_shot: int | None = Field(
        default=None, ge=1, description="Use only this many training rows per class; null: all"
    )

    @field_validator("metric", "verbalizer", "few_shot")
    @classmethod
    def _fits_the_problem(cls, value: Any, info: ValidationInfo) -> Any:
        problem = info.data.get("problem_type", "single_label_classification")
        single, field = problem == "single_label_classification", info.field_name
        if field == "metric":
            allowed = _METRICS[problem]
            if value not in allowed:
                raise ValueError(
                    f"must be one of {', '.join(allowed)} if problem_type is {problem}, not {value}"
                )
        elif value is not None and not single:
            raise ValueError(f"must be left out if problem_type is {problem}: it is for one label per text")
        elif field == "verbalizer" and value is not None and info.data.get("text_pair") is not None:
            raise ValueError(
                'must have both texts in one template instead of text_pair: text: "{first} {second} ..."'
            )
        return value

    @property
    def language_model(self) -> bool:
        return self.verbalizer is not None

    @property
    def has_readout(self) -> bool:
        return self.verbalizer is None

    @property
    def request(self) -> dict[str, str]:
        pair = {} if self.text_pair is None else {"text_pair": filled(self.text_pair)}
        return {"text": filled(self.text), **pair}

    @property
    def answer_type(self) -> Literal["text", "texts", "number"]:
        match self.problem_type:
            case "regression":
                return "number"
            case "multi_label_classification":
                return "texts"
        return "text"


_METRICS = {
    "single_label_classification": ("accuracy", "macro_f1", "matthews_correlation"),
    "multi_label_classification": ("accuracy", "macro_f1"),
    "regression": ("pearson", "spearman"),
}


@dataclass(frozen=True)
class Text:
    """A row before tokenization: its text, the second text of a pair, its targets, and its group."""

    text: str
    pair: str | None
    targets: list[int] | list[float]
    group: str | None


def load(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    seed: int,
    splits: Sequence[str],
    architecture: Architecture,
) -> SequenceClassification:
    """Loads a task with the given splits; see `search.tasks.load`."""
    source = Splits(config, _columns(config), seed)
    labels = read_labels(config.label, config.problem_type, source.train, source.name("train"))
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
            *groups.shared(
                {split: [row.group for row in rows[split]] for split in splits},
                [row.group for row in rows["train"]],
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


def count(config: Config, split: str) -> int:
    """Counts the rows of a split in the data; see `search.tasks.count`."""
    return count_rows(config, split, _columns(config))


def _columns(config: Config) -> dict[str, str]:
    """The columns that the task reads, each with the setting that names it."""
    columns = dict.fromkeys(template_columns(config.text), "text")
    if config.text_pair:
        columns |= dict.fromkeys(template_columns(config.text_pair), "text_pair")
    return columns | {config.label: "label"}


def _rows(config: Config, source: Splits, labels: Labels, split: str) -> list[Text]:
    """The used rows of a split, in the order of the data."""
    where, table = source.name(split), source.table(split)
    targets = labels.targets(table, where)
    numbers = source.draw(split, len(table), labels.classes(targets), config.few_shot)
    first = texts(config.text, table, "text", where, numbers)
    second: Sequence[str | None] = [None] * len(numbers)
    if config.text_pair:
        second = texts(config.text_pair, table, "text_pair", where, numbers)
    named = groups.named(config, table, where, numbers)
    return [
        Text(text, pair, targets[number], group)
        for text, pair, number, group in zip(first, second, numbers, named, strict=True)
    ]


def _words(config: Config, names: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The verbalizer's tokens, in the order of the labels."""
    if config.verbalizer is None:
        return ()
    if set(config.verbalizer) != set(names):
        raise StudyFileError(
            f"verbalizer: must have a word for each of the labels {', '.join(names)} and no others; it has "
            f"{', '.join(config.verbalizer)}"
        )
    tokens = [written.word(tokenizer, config.verbalizer[name]) for name in names]
    if len(set(tokens)) < len(tokens) or tokenizer.unk_token_id in tokens:
        shown = ", ".join(
            f"{config.verbalizer[name]} ({tokenizer.convert_ids_to_tokens(token)})"
            for name, token in zip(names, tokens, strict=True)
        )
        raise StudyFileError(
            f"verbalizer: words must begin with different tokens that the model knows; they begin with {shown}"
        )
    return tuple(tokens)


def _tokenize_scored(
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    architecture: Architecture,
    rows: Sequence[Text],
    split: str,
) -> Split:
    """Tokenizes rows for a verbalizer: the head reads where its words are scored."""
    made = []
    try:
        for row in rows:
            ids, place = written.scored(tokenizer, row.text, max_length, architecture)
            made.append(Row(ids, row.targets, [place]))
    except WrittenError as error:
        raise StudyFileError(f"{error} in {split}") from error
    sha256 = sources.fingerprint((row.text, *map(str, row.targets)) for row in rows)
    return Split(made, sha256, groups=groups.numbered([row.group for row in rows]))


def _tokenize(rows: Sequence[Text], split: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Split:
    pairs = [row.pair or "" for row in rows] if any(row.pair is not None for row in rows) else None
    encoded = tokenizer(
        [row.text for row in rows], pairs, truncation=True, max_length=max_length, padding=False
    )
    types = encoded.get("token_type_ids") if pairs else None
    made = []
    for number, (row, ids) in enumerate(zip(rows, encoded["input_ids"], strict=True)):
        if not ids:
            raise StudyFileError(
                f"text: the tokenizer makes no tokens from {errors.show(row.text)} in {split}"
            )
        mine = types[number] if types and any(types[number]) else None
        made.append(Row(ids, row.targets, token_type_ids=mine))
    sha256 = sources.fingerprint((row.text, row.pair, *map(str, row.targets)) for row in rows)
    return Split(made, sha256, groups=groups.numbered([row.group for row in rows]))
