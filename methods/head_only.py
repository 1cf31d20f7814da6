"""Head only, the baseline: no injection; a linear head on the frozen features is all that is trained.

Nothing is deployed beside the head, so a prompt has to beat it to be worth its parameters. What is searched
is the head's learning rate and what it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.config import READOUTS, MethodConfig, hyperparameter
from methods.method import Rows, Start
from methods.space import Choice, Float


@dataclass(frozen=True)
class Config(MethodConfig):
    """Learning rate and readout of the head."""

    head_fields: ClassVar[tuple[str, ...]] = ("learning_rate", "readout")

    learning_rate: float = hyperparameter(
        3e-3, allowed=Float(3e-4, 1e-1, log=True), help="AdamW's peak learning rate, of the head"
    )
    readout: str = hyperparameter(
        "mean",
        allowed=Choice(READOUTS),
        searched=Choice(("first", "mean", "last")),
        help="what the head reads: the first or last text position, the mean of all, or as the model's own class does",
    )


class Method(method.Method):
    """An empty injection."""

    title = "Head only"
    baseline = True

    def initialize(self, start: Start) -> None:
        """There is nothing to start."""

    def forward(self, rows: Rows, backbone: Backbone) -> Injection:
        return Injection(rows=len(rows))
