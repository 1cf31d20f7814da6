"""Question answering: finds the span of a context that answers a question, or says that there is none.

Example row, with SQuAD's columns: {"question": "Who wrote it?", "context": "Ink was written by Ann Lee.", "answers":
{"text": ["Ann Lee"], "answer_start": [19]}}. Empty lists mean that the context has no answer. Several answers of a row
are references: training uses the first, and a prediction is scored against the closest one. Questions on one context are a
group, unless a column `group` says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from search import errors
from search.config.task_config import TaskConfig
from search.errors import StudyFileError
from search.tasks import groups, sources
from search.tasks.sources import Table
from search.tasks.splits import Splits, count_rows, place, repeated, texts
from search.tasks.task import Evaluation, Row, Split, Task, Trivial, encode_text

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from methods.backbone.shape import Architecture
    from methods.heads.spans import Window


class Config(TaskConfig):
    """The span of a context that answers a question, or no answer: data in SQuAD's columns or file."""

    example = {"name": "answers", "kind": "question_answering"}

    kind: Literal["question_answering"] = Field(description="Kind of the task")
    question: str = Field(default="question", description="Column of the question")
    context: str = Field(default="context", description="Column of the context")
    answers: str = Field(
        default="answers",
        description="Column of the answers: {text: [...], answer_start: [...]}; empty lists for no answer",
    )
    doc_stride: int = Field(
        default=32, ge=1, description="Tokens by which neighbouring windows of a long context overlap"
    )
    max_answer_length: int = Field(default=30, ge=1, description="Longest answer in tokens")
    metric: Literal["f1", "exact_match"] = Field(
        default="f1", description="Metric to maximize, as in SQuAD: the best over the references"
    )

    @property
    def request(self) -> dict[str, str]:
        return {"question": "Who wrote it?", "context": "Ada wrote it."}


@dataclass(frozen=True)
class Question:
    """A row before tokenization; `answers` are (first character, text), and empty if there is no answer."""

    question: str
    context: str
    answers: tuple[tuple[int, str], ...]
    group: str


@dataclass(frozen=True, eq=False)
class QuestionSplit(Split):
    """A split whose rows are windows: `windows` has their details, and `questions` the questions."""

    windows: list[Window]
    questions: list[Question]


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering(Task):
    """Predicts start and end of a span: cross-entropy over a window's places; SQuAD's F1 or exact match.

    Attributes:
        unanswerable: whether train has questions without an answer; only then "no answer" is predicted.
        doc_stride, max_answer_length: see `Config`.
    """

    kind: ClassVar[str] = "question_answering"
    answer: ClassVar[str] = "span"

    unanswerable: bool
    doc_stride: int
    max_answer_length: int

    @property
    def settings(self) -> dict[str, Any]:
        names = ("unanswerable", "doc_stride", "max_answer_length")
        return {**super().settings, **{name: getattr(self, name) for name in names}}

    def loss(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
        # Windows have different numbers of places; -inf makes the missing ones impossible.
        import torch

        logits_BX2 = torch.nn.utils.rnn.pad_sequence(list(logits), batch_first=True, padding_value=-torch.inf)
        targets_B2 = torch.tensor([row.targets for row in rows], device=logits_BX2.device)
        losses_B2 = torch.nn.functional.cross_entropy(logits_BX2, targets_B2, reduction="none")
        return losses_B2.mean(1)

    def losses_of(self, row: Row) -> int:
        return 1

    def evaluate(
        self, split: Split, kept: Sequence[Tensor], written: Sequence[Sequence[int]] | None = None
    ) -> Evaluation:
        import torch

        from methods.heads import spans

        assert isinstance(split, QuestionSplit)
        if not all(bool(torch.isfinite(row).all()) for row in kept):
            return Evaluation(math.nan)
        predictions = spans.answers(
            split.windows,
            kept,
            [question.context for question in split.questions],
            max_answer_length=self.max_answer_length,
            unanswerable=self.unanswerable,
        )
        return self._scored(split, predictions)

    def trivial(self, train: Split, split: Split) -> Trivial | None:
        assert isinstance(split, QuestionSplit)
        return Trivial("no answer", self._scored(split, [""] * len(split.questions)))

    def _scored(self, split: QuestionSplit, predictions: list[str]) -> Evaluation:
        """Scores an answer to each question."""
        from search.metrics import answers

        right = [tuple(text for _, text in question.answers) for question in split.questions]
        return self.evaluation(
            answers.squad(predictions, right), [" / ".join(row) for row in right], predictions
        )


def load(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    seed: int,
    splits: Sequence[str],
    architecture: Architecture,
) -> QuestionAnswering:
    """Loads a task with the given splits; see `search.tasks.load`."""
    source = Splits(config, _columns(config), seed)
    used = {split: _questions(config, source, split) for split in {"train": None, **dict.fromkeys(splits)}}
    made: dict[str, Split] = {}
    warnings = []
    for split in splits:
        made[split] = tokens = _tokenize(config, used[split], tokenizer, max_length)
        lost = _out_of_reach(tokens)
        if lost:
            warnings.append(
                f"{lost} of {len(used[split])} answers of {split} fit into no window: raise doc_stride or model.max_length"
            )
    unique = {split: [(row.question, row.context) for row in rows] for split, rows in used.items()}
    return QuestionAnswering(
        name=config.name,
        metric=config.metric,
        labels=(),
        label_ids=[],
        splits=made,
        encode=partial(encode_text, tokenizer),
        warnings=(
            *warnings,
            *repeated({split: unique[split] for split in splits}, unique["train"]),
            *groups.shared(
                {split: [row.group for row in used[split]] for split in splits},
                [row.group for row in used["train"]],
                "contexts" if config.group is None else "groups",
            ),
        ),
        unanswerable=any(not row.answers for row in used["train"]),
        doc_stride=config.doc_stride,
        max_answer_length=config.max_answer_length,
    )


def count(config: Config, split: str) -> int:
    """Counts the rows of a split in the data; see `search.tasks.count`."""
    return count_rows(config, split, _columns(config))


def _columns(config: Config) -> dict[str, str]:
    return {config.question: "question", config.context: "context", config.answers: "answers"}


def _questions(config: Config, source: Splits, split: str) -> list[Question]:
    table, where = source.table(split), source.name(split)
    numbers = source.draw(split, len(table))
    asked = texts(config.question, table, "question", where, numbers)
    contexts = texts(config.context, table, "context", where, numbers)
    named = groups.named(config, table, where, numbers)
    return [
        Question(question.strip(), context, _answers(config, table, context, number, where), group or context)
        for question, context, number, group in zip(asked, contexts, numbers, named, strict=True)
    ]


def _answers(config: Config, table: Table, context: str, row: int, split: str) -> tuple[tuple[int, str], ...]:
    """The answers of a row.

    Raises:
        StudyFileError: an answer is not in the context at the given place.
    """
    value: Any = table.columns[config.answers][row]
    if not isinstance(value, dict) or not {"text", "answer_start"} <= value.keys():
        raise StudyFileError(
            f"answers: {config.answers} must hold {{text: [...], answer_start: [...]}}; {place(row, split)} has "
            f"{errors.show(value)}"
        )
    found = []
    for start, text in zip(value["answer_start"], value["text"], strict=False):
        if not isinstance(start, int) or not text or context[start : start + len(text)] != text:
            there = context[start : start + len(text)] if isinstance(start, int) else None
            raise StudyFileError(
                f"answers: {place(row, split)} has the answer {errors.show(text)} at character "
                f"{errors.show(start)}, but its context has {errors.show(there)} there"
            )
        found.append((start, text))
    if len(value["answer_start"]) != len(value["text"]):
        raise StudyFileError(
            f"answers: {place(row, split)} has {len(value['text'])} texts but {len(value['answer_start'])} starts"
        )
    return tuple(found)


def _tokenize(
    config: Config,
    questions: list[Question],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> QuestionSplit:
    from methods.heads import spans
    from methods.heads.spans import SpansError

    try:
        found = spans.windows(
            tokenizer,
            [row.question for row in questions],
            [row.context for row in questions],
            max_length=max_length,
            doc_stride=config.doc_stride,
        )
    except SpansError as error:
        raise StudyFileError(str(error)) from error
    rows = []
    for window in found:
        answers = questions[window.question].answers
        start, end = window.places(answers[0][0], answers[0][0] + len(answers[0][1])) if answers else (0, 0)
        rows.append(Row(window.input_ids, [start, end], window.read, window.token_type_ids))
    sha256 = sources.fingerprint((row.question, row.context, str(row.answers)) for row in questions)
    numbers = groups.numbered([row.group for row in questions])
    return QuestionSplit(rows, sha256, found, questions, groups=numbers)


def _out_of_reach(split: QuestionSplit) -> int:
    """The number of questions whose answer is not complete in any window."""
    reached = {
        window.question
        for window, row in zip(split.windows, split.rows, strict=True)
        if row.targets != [0, 0]
    }
    answerable = {number for number, question in enumerate(split.questions) if question.answers}
    return len(answerable - reached)
