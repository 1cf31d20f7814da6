"""What every kind of task is: tokenized splits, a head, a loss per row, and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from methods import heads
from methods.backbone import Backbone
from methods.heads import Head


@dataclass(frozen=True, eq=False)
class Split:
    """A split's rows in tokens.

    Attributes:
        input_ids: a list of token ids per row, with special tokens, cut to max_length, not padded.
        targets: of each row, the numbers of its labels: one where the text has a label, one per place that is read
            where its tokens have.
        sha256: fingerprint of the rows' texts and labels, before they were cut.
        read: of each row, the positions in input_ids that are read; None where the text as a whole is.
    """

    input_ids: list[list[int]]
    targets: list[list[int]]
    sha256: str
    read: list[list[int]] | None = None

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Task(ABC):
    """A task of a study.

    Attributes:
        name: from the study file.
        metric: what `score` computes.
        labels: names of the C labels; a target is a number in them.
        label_ids: token ids of each label's words, without special tokens.
        splits: those that were loaded: "train", "validation", "test".
        encode: token ids of a text, without special tokens.
        warnings: what the user should know of the data.
    """

    kind: ClassVar[str]

    name: str
    metric: str
    labels: tuple[str, ...]
    label_ids: list[list[int]]
    splits: dict[str, Split]
    encode: Callable[[str], list[int]]
    warnings: tuple[str, ...] = ()

    def head(self, backbone: Backbone, readout: str) -> Head:
        """A head that reads what the task does; its parameters' values have no meaning yet."""
        return heads.make(self.kind, readout, len(self.labels), backbone)

    @abstractmethod
    def loss(self, logits_XC: Tensor, target_X: Tensor) -> Tensor:
        """Loss of each place that is read, `[X]`."""

    @abstractmethod
    def score(self, logits: list[Tensor], targets: list[list[int]]) -> tuple[float, list[float] | None]:
        """The metric over all rows, and each row's part in it where the metric is a mean over rows.

        Args:
            logits: of each row of a split, `[places read, C]`.
            targets: of each row.

        Returns:
            The score is not finite where a logit is not.
        """

    @abstractmethod
    def answer(self, targets: list[int]) -> str:
        """A row's labels (its targets, or what was predicted for it) as people write them."""


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def label_words(labels: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of each label's words, without special tokens."""
    return [encode_text(tokenizer, label.replace("_", " ")) for label in labels]
