"""The forms of a label (one label, several labels, a number), each with its loss and metrics."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from search.tasks.task import Evaluation, Row, Split, Task, Trivial

if TYPE_CHECKING:
    from torch import Tensor


Answer = list[int] | list[float]


class SequenceClassification(Task):
    """A task on whole texts; each form of label has a subclass."""

    kind: ClassVar[str] = "sequence_classification"
    answer: ClassVar[str] = "label"
    problem_type: ClassVar[str]

    @property
    def settings(self) -> dict[str, Any]:
        return {"problem_type": self.problem_type}

    def loss(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
        import torch

        logits_BC = torch.cat(list(logits))
        return self._loss(logits_BC, torch.tensor([row.targets for row in rows], device=logits_BC.device))

    def evaluate(
        self, split: Split, kept: Sequence[Tensor], written: Sequence[Sequence[int]] | None = None
    ) -> Evaluation:
        import torch

        logits_NC = torch.cat(list(kept))
        if not bool(torch.isfinite(logits_NC).all()):
            return Evaluation(math.nan)
        return self._scored([row.targets for row in split.rows], self._answers(logits_NC))

    def trivial(self, train: Split, split: Split) -> Trivial | None:
        answer, given = self._without_a_model([row.targets for row in train.rows])
        return Trivial(answer, self._scored([row.targets for row in split.rows], [given] * len(split)))

    @abstractmethod
    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """The loss of each row, `[B]`; targets are `[B, 1]`, or `[B, C]` for several labels."""

    @abstractmethod
    def _answers(self, logits_NC: Tensor) -> list[Answer]:
        """Each row's answer, in the form of `Row.targets`, from logits, which are finite."""

    @abstractmethod
    def _without_a_model(self, targets: Sequence[Answer]) -> tuple[str, Answer]:
        """The answer that fits the training rows' targets best, and what it is called."""

    @abstractmethod
    def _scored(self, right: Sequence[Answer], given: Sequence[Answer]) -> Evaluation:
        """Scores each row's answer."""


@dataclass(frozen=True, kw_only=True)
class OneLabel(SequenceClassification):
    """One label per text: cross-entropy, and accuracy, macro F1 or Matthews correlation.

    Attributes:
        verbalizer: for each label the token that the language model scores; empty if a head is trained.
    """

    problem_type: ClassVar[str] = "single_label_classification"

    verbalizer: tuple[int, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "verbalizer": list(self.verbalizer)}

    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.cross_entropy(logits_BC, targets[:, 0], reduction="none")

    def _answers(self, logits_NC: Tensor) -> list[Answer]:
        return [[number] for number in logits_NC.argmax(1).tolist()]

    def _without_a_model(self, targets: Sequence[Answer]) -> tuple[str, Answer]:
        counts = Counter(int(number) for (number,) in targets)
        most = max(sorted(counts), key=lambda number: counts[number])
        return f"always {self.labels[most]!r}", [most]

    def _scored(self, right: Sequence[Answer], given: Sequence[Answer]) -> Evaluation:
        from search.metrics import labels

        numbers = [[int(number) for (number,) in rows] for rows in (right, given)]
        scores = {
            "accuracy": labels.accuracy(*numbers),
            "macro_f1": labels.macro_f1(*numbers),
            "matthews_correlation": labels.matthews(*numbers),
        }
        targets, predictions = ([self.labels[number] for number in mine] for mine in numbers)
        return self.evaluation(scores, targets, predictions)


class SeveralLabels(SequenceClassification):
    """Any number of labels per text: binary cross-entropy per label; macro F1, or accuracy of the whole set."""

    problem_type: ClassVar[str] = "multi_label_classification"

    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits_BC, targets.to(logits_BC.dtype), reduction="none"
        ).mean(1)

    def _answers(self, logits_NC: Tensor) -> list[Answer]:
        found: list[Answer] = (logits_NC > 0).int().tolist()
        return found

    def _without_a_model(self, targets: Sequence[Answer]) -> tuple[str, Answer]:
        most: Answer = [int(2 * sum(column) > len(targets)) for column in zip(*targets, strict=True)]
        return f"always {self._names(most)!r}" if any(most) else "no labels", most

    def _scored(self, right: Sequence[Answer], given: Sequence[Answer]) -> Evaluation:
        from search.metrics import labels

        scores = {
            "accuracy": labels.accuracy(right, given),
            "macro_f1": labels.macro_f1_of_sets(right, given),
        }
        targets, predictions = ([self._names(row) for row in rows] for rows in (right, given))
        return self.evaluation(scores, targets, predictions)

    def _names(self, row: Answer) -> str:
        return ", ".join(name for name, there in zip(self.labels, row, strict=True) if there)


@dataclass(frozen=True, kw_only=True)
class Regression(SequenceClassification):
    """A number per text: squared error, and Pearson's or Spearman's correlation.

    The head's output is standardized: 0 is the mean of the training rows, 1 is one standard deviation above it.
    """

    problem_type: ClassVar[str] = "regression"

    mean: float
    deviation: float

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "mean": self.mean, "deviation": self.deviation}

    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        import torch

        wanted = (targets[:, 0] - self.mean) / self.deviation
        return torch.nn.functional.mse_loss(logits_BC[:, 0], wanted.to(logits_BC.dtype), reduction="none")

    def _answers(self, logits_NC: Tensor) -> list[Answer]:
        return [[self.mean + self.deviation * value] for value in logits_NC[:, 0].tolist()]

    def _without_a_model(self, targets: Sequence[Answer]) -> tuple[str, Answer]:
        return "the mean", [fmean(number for (number,) in targets)]

    def _scored(self, right: Sequence[Answer], given: Sequence[Answer]) -> Evaluation:
        from search.metrics import correlations

        numbers = [[float(number) for (number,) in rows] for rows in (right, given)]
        scores = {"pearson": correlations.pearson(*numbers), "spearman": correlations.spearman(*numbers)}
        error = math.sqrt(fmean((one - other) ** 2 for one, other in zip(*numbers, strict=True)))
        targets, predictions = ([f"{number:g}" for number in mine] for mine in numbers)
        return self.evaluation(scores, targets, predictions, {"rmse": error})
