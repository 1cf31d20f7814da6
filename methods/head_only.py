"""Head only: a linear classifier on the frozen model.

This is the cheapest baseline: no injection, and nothing is deployed besides the head. A prompt must beat it to be
worth its parameters. The search varies the head's learning rate and what it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.bundles.bundle import Bundle
from methods.config import READOUTS, MethodConfig, hyperparameter
from methods.method import Rows, Start
from methods.space import Choice, Float


@dataclass(frozen=True)
class Config(MethodConfig):
    """The head's learning rate and readout."""

    head_fields: ClassVar[tuple[str, ...]] = ("learning_rate", "readout")

    learning_rate: float = hyperparameter(
        3e-3, allowed=Float(3e-4, 1e-1, log=True), help="AdamW's peak learning rate for the head"
    )
    readout: str = hyperparameter(
        "mean",
        allowed=Choice(READOUTS),
        searched=Choice(("first", "mean", "last")),
        help="what the head reads: the first or last text position, the mean of all, or what the model's own class reads",
    )


class Method(method.Method):
    """Injects nothing."""

    title = "Head only"
    baseline = True
    injects = False

    def initialize(self, start: Start) -> None:
        """Does nothing: there are no parameters."""

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        return Injection(rows=len(rows))
