"""The base class of tasks: tokenized splits, a head, a loss and an evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from methods.answers.trained import SavedTask
    from methods.backbone.backbone import Backbone
    from methods.heads.heads import Head
    from search.metrics.score import Score


@dataclass(frozen=True, slots=True)
class Row:
    """A tokenized row.

    Attributes:
        input_ids: token ids with special tokens, cut to max_length, not padded.
        targets: the numbers that the task's loss compares with the head's output, such as the label's number.
        read: positions in input_ids that the head reads; None if it reads the text as a whole.
        token_type_ids: 0 or 1 for each token of a pair, if the model distinguishes the two texts.
        source_length: how many tokens of input_ids are given, if the rest is to be written; None: all.
        written: token ids that an encoder-decoder's decoder gets after its start token; `read` then counts positions
            there, from the start token at 0.
    """

    input_ids: list[int]
    targets: list[int] | list[float]
    read: list[int] | None = None
    token_type_ids: list[int] | None = None
    source_length: int | None = None
    written: list[int] | None = None

    @property
    def length(self) -> int:
        """The number of tokens that the backbone runs."""
        return len(self.input_ids) + len(self.written or ())

    @property
    def places(self) -> int:
        """The number of places at which the head makes logits."""
        return 1 if self.read is None else len(self.read)


@dataclass(frozen=True, eq=False)
class Split:
    """A split's rows.

    Attributes:
        sha256: the hash of the rows' texts and labels before cutting.
        groups: for each example (each entry of `Evaluation.predictions`) the number of its group; numbers are in the order
            of first appearance. None if every example stands alone.
    """

    rows: list[Row]
    sha256: str
    groups: list[int] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Evaluation:
    """The scores on a split, and its predictions.

    Attributes:
        score: the task's metric, higher is better; not finite if the model's outputs are not.
        metrics: other metrics, by name.
        targets: the right answer of each example, as readable text.
        predictions: the predicted answer of each example.
        examples: a value for each example, whose mean is the score up to O(1/E) (see `search/metrics/`): its own score if
            the metric is a mean, else its pseudo-value. None only if a metric of another package has none.
    """

    score: float
    metrics: dict[str, float] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    examples: list[float] | None = None


class Trivial(NamedTuple):
    """What an answer that needs no model scores; `answer` says which, such as "always 'food'"."""

    answer: str
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A task of a study.

    Attributes:
        name: the task's name in the study file.
        metric: the metric that `evaluate` scores.
        labels: the labels' names, if the task has labels; a target is an index into them.
        label_ids: token ids of each label's words, without special tokens.
        splits: the loaded splits: "train", "validation", "test".
        encode: turns a text into token ids, without special tokens.
        warnings: what the user should know about the data.
    """

    kind: ClassVar[str]
    answer: ClassVar[str]
    """The form of its answers (see `methods/answers/`)."""

    name: str
    metric: str
    labels: tuple[str, ...]
    label_ids: list[list[int]]
    splits: dict[str, Split]
    encode: Callable[[str], list[int]]
    warnings: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """What a saved method must know about the task besides its form of answer and labels, as plain values."""
        return {}

    def head(self, backbone: Backbone, readout: str) -> Head:
        """Makes the task's head; its parameters are not initialised."""
        from methods import answers

        head: Head = answers.get(self.answer).head(readout, self.labels, self.settings, backbone)
        return head

    @property
    def saved(self) -> SavedTask:
        """What a saved method must know about the task."""
        from methods.answers.trained import SavedTask

        return SavedTask(self.name, self.answer, self.labels, self.settings)

    @abstractmethod
    def loss(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
        """The loss of each target, `[X]`.

        Args:
            logits: each row's logits, `[places, C]` float32.
            rows: the rows with their targets.
        """

    def losses_of(self, row: Row) -> int:
        """The number of losses that `loss` gives for a row: one for each place, or one for the whole row."""
        return 1 if row.read is None else len(row.targets)

    def keep(self, logits_XC: Tensor, row: Row) -> Tensor:
        """The part of a row's logits that `evaluate` needs, `[places, ...]`."""
        return logits_XC

    def sources(self, split: Split) -> Split | None:
        """The texts that must be continued before the split can be evaluated; None if nothing is written."""
        return None

    @abstractmethod
    def evaluate(
        self, split: Split, kept: Sequence[Tensor], written: Sequence[Sequence[int]] | None = None
    ) -> Evaluation:
        """Scores a whole split.

        Args:
            split: the split.
            kept: the result of `keep` for each row, on the CPU.
            written: the tokens that were written after each of `sources`.
        """

    def trivial(self, train: Split, split: Split) -> Trivial | None:
        """Scores an answer that needs no model, such as the most frequent label; None if the kind has none.

        Args:
            train: the training split, from which the answer is.
            split: the split to score it on.
        """
        return None

    def evaluation(
        self,
        scores: Mapping[str, Score],
        targets: list[str],
        predictions: list[str],
        others: Mapping[str, float] | None = None,
    ) -> Evaluation:
        """Makes an evaluation of every metric's score; `others` are measurements that are no metrics."""
        values = {name: score.value for name, score in scores.items()} | dict(others or {})
        mine = scores[self.metric]
        return Evaluation(values.pop(self.metric), values, targets, predictions, mine.examples)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The token ids of a text, without special tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def label_words(labels: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The token ids of each label's words, without special tokens."""
    return [encode_text(tokenizer, label.replace("_", " ")) for label in labels]
