"""The forms of a label (one label, several labels, a number), each with its loss and metrics."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from search.tasks.task import Evaluation, Row, Split, Task

if TYPE_CHECKING:
    from torch import Tensor


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
        return self._evaluate(logits_NC, torch.tensor([row.targets for row in split.rows]))

    @abstractmethod
    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """The loss of each row, `[B]`; targets are `[B, 1]`, or `[B, C]` for several labels."""

    @abstractmethod
    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        """Scores the logits, which are finite."""


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

    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        from sklearn import metrics

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
    """Any number of labels per text: binary cross-entropy per label; macro F1, or accuracy of the whole set."""

    problem_type: ClassVar[str] = "multi_label_classification"

    def _loss(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits_BC, targets.to(logits_BC.dtype), reduction="none"
        ).mean(1)

    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        from sklearn import metrics

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

    def _evaluate(self, logits_NC: Tensor, targets: Tensor) -> Evaluation:
        from scipy import stats

        given = [self.mean + self.deviation * value for value in logits_NC[:, 0].tolist()]
        right = targets[:, 0].tolist()
        # The correlation with a constant is undefined; count it as 0.
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
