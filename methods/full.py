"""Full fine-tuning, the ceiling: every weight of a copy of the model is trained.

There is no injection. With several tasks they share the one copy, each with its own head.

Differences from usual practice: the model stays in evaluation mode, so there is no dropout, which would draw from a
generator that is not the trial's. A part of the model that nothing reads (a pooler, unless `readout: model`) is left as it is.

Counts: trained = deployed = the model's own scalars, whatever the number of tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.config import TrainedConfig, hyperparameter
from methods.method import Rows, Start
from methods.space import Float


@dataclass(frozen=True)
class Config(TrainedConfig):
    """Learning rate of the whole model."""

    learning_rate: float = hyperparameter(
        5e-5,
        allowed=Float(5e-6, 5e-4, log=True),
        help="AdamW's peak learning rate, of every weight of the model",
    )


class Method(method.Method):
    """`model`, a copy of the backbone's."""

    title = "Full fine-tuning"
    baseline = True
    private_backbone = True

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        self._own = backbone.copy()
        self.model = self._own.model
        self.model.requires_grad_(True)
        pooler = getattr(self.model, "pooler", None)
        if pooler is not None and config.readout != "model":
            pooler.requires_grad_(False)

    @property
    def own_backbone(self) -> Backbone:
        return self._own

    def initialize(self, start: Start) -> None:
        """It starts from the model's own weights."""

    def forward(self, rows: Rows, backbone: Backbone) -> Injection:
        return Injection(rows=len(rows))
