"""What every kind of task is: tokenized splits, a head, a loss per row, and an evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from methods.answers.trained import SavedTask
    from methods.backbone.backbone import Backbone
    from methods.heads.heads import Head


@dataclass(frozen=True, slots=True)
class Row:
    """A row in tokens.

    Attributes:
        input_ids: token ids with special tokens, cut to max_length, not padded.
        targets: numbers of labels, or of what else the task's loss compares with what the head says.
        read: positions in input_ids that the head reads; None where it reads the text as a whole.
        token_type_ids: 0 or 1 for each token, in a pair of a model that tells the two texts apart.
        source_length: tokens of input_ids that are given, where the rest is to be written; None: all.
        written: token ids that the decoder of an encoder-decoder goes through after its start token; then `read` counts in
            these, and the start token is 0.
    """

    input_ids: list[int]
    targets: list[int] | list[float]
    read: list[int] | None = None
    token_type_ids: list[int] | None = None
    source_length: int | None = None
    written: list[int] | None = None

    @property
    def length(self) -> int:
        """Tokens that the backbone runs."""
        return len(self.input_ids) + len(self.written or ())

    @property
    def places(self) -> int:
        """How many logits the head makes of it."""
        return 1 if self.read is None else len(self.read)


@dataclass(frozen=True, eq=False)
class Split:
    """A split's rows; `sha256` is a fingerprint of their texts and labels, before they were cut."""

    rows: list[Row]
    sha256: str

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Evaluation:
    """How well a split's examples are answered.

    Attributes:
        score: the task's metric, higher is better; not finite where the model's outputs are not.
        metrics: what else is worth knowing, by name.
        targets: of each example, the right answer as people write it.
        predictions: of each example, what was answered.
        parts: of each example, its part in the score, where that is the mean over examples.
    """

    score: float
    metrics: dict[str, float] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    parts: list[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A task of a study.

    Attributes:
        name: from the study file.
        metric: what `evaluate` scores.
        labels: names of the labels, where there are; a target is a number in them.
        label_ids: token ids of each label's words, without special tokens.
        splits: those that were loaded: "train", "validation", "test".
        encode: token ids of a text, without special tokens.
        warnings: what the user should know of the data.
    """

    kind: ClassVar[str]
    answer: ClassVar[str]
    """Form of its answers (`methods/answers/`)."""

    name: str
    metric: str
    labels: tuple[str, ...]
    label_ids: list[list[int]]
    splits: dict[str, Split]
    encode: Callable[[str], list[int]]
    warnings: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """What a saved method has to know of the task beside its kind and labels, as plain values."""
        return {}

    def head(self, backbone: Backbone, readout: str) -> Head:
        """A head that reads what the task does; its parameters' values have no meaning yet."""
        from methods import answers

        head: Head = answers.get(self.answer).head(readout, self.labels, self.settings, backbone)
        return head

    @property
    def saved(self) -> SavedTask:
        """What a saved method has to know of it."""
        from methods.answers.trained import SavedTask

        return SavedTask(self.name, self.answer, self.labels, self.settings)

    @abstractmethod
    def loss(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
        """Loss of each target, `[X]`.

        Args:
            logits: of each row, `[places, C]` float32.
            rows: with their targets.
        """

    def keep(self, logits_XC: Tensor, row: Row) -> Tensor:
        """What `evaluate` needs of a row's logits, `[places, ...]`."""
        return logits_XC

    def sources(self, split: Split) -> Split | None:
        """The texts of a split after which one is to be written before it is evaluated; None: nothing is written."""
        return None

    @abstractmethod
    def evaluate(
        self, split: Split, kept: Sequence[Tensor], written: Sequence[Sequence[int]] | None = None
    ) -> Evaluation:
        """Scores a whole split.

        Args:
            split: all its rows.
            kept: of each row, what `keep` says, on the CPU.
            written: after each of `sources`, the tokens that were written.
        """


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def label_words(labels: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of each label's words, without special tokens."""
    return [encode_text(tokenizer, label.replace("_", " ")) for label in labels]
