"""What every kind of task is: tokenized splits, a head, a loss per row, and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class Split:
    """A split's rows in tokens.

    Attributes:
        input_ids: a list of token ids per row, with special tokens, cut to max_length, not padded.
        targets: the number of each row's label.
        sha256: fingerprint of the rows' texts and labels, before they were cut.
    """

    input_ids: list[list[int]]
    targets: list[int]
    sha256: str

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
        warnings: what the user should know of the data.
    """

    kind: ClassVar[str]

    name: str
    metric: str
    labels: tuple[str, ...]
    label_ids: list[list[int]]
    splits: dict[str, Split]
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def head(self, hidden_size: int) -> nn.Module:
        """A head from features `[B, H]` to logits `[B, C]`; its parameters' values have no meaning yet."""

    @abstractmethod
    def loss(self, logits_BC: Tensor, target_B: Tensor) -> Tensor:
        """Loss of each row, `[B]`."""

    @abstractmethod
    def score(self, logits_NC: Tensor, targets: list[int]) -> tuple[float, list[float] | None]:
        """The metric over all rows, and each row's part in it where the metric is a mean over rows.

        Args:
            logits_NC: `[N, C]`, of all rows of a split.
            targets: the N rows' targets.
        """
