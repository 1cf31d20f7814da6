"""Full fine-tuning (an upper bound): trains every weight of a copy of the model.

There is no injection. Several tasks share one copy, each with its own head.

Differences from usual practice: the model stays in evaluation mode, without dropout, which would not draw from the
trial's generator. A part of the model that is not read (a pooler, unless `readout: model`) is not trained. In a
bfloat16 model the optimizer moves float32 masters (`methods/backbone/masters.py`); what is deployed is bfloat16 again.

Counts: trained = deployed = all scalars of the model, for any number of tasks.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.backbone.masters import masters_of, round_into
from methods.config import TrainedConfig, hyperparameter
from methods.method import Rows, Start
from methods.space import Float


@dataclass(frozen=True)
class Config(TrainedConfig):
    """The model's learning rate."""

    learning_rate: float = hyperparameter(
        5e-5,
        allowed=Float(5e-6, 5e-4, log=True),
        help="AdamW's peak learning rate for all weights of the model",
    )


class Method(method.Method):
    """Trains `model`, a copy of the backbone's model, or the masters of such a copy."""

    title = "Full fine-tuning"
    baseline = True
    private_backbone = True

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        self._own = backbone.copy()
        used = self._own.model.requires_grad_(True)
        pooler = getattr(used, "pooler", None)
        if pooler is not None and config.readout != "model":
            pooler.requires_grad_(False)
        self.model = masters_of(used)

    @property
    def own_backbone(self) -> Backbone:
        return self._own

    def initialize(self, start: Start) -> None:
        """Does nothing: training starts from the model's weights."""

    def forward(self, rows: Rows, backbone: Backbone) -> Injection:
        round_into(self._own.model, self.model)
        return Injection(rows=len(rows))

    def deployed(self, backbone: Backbone) -> method.Method:
        """Leaves out the masters: an answer needs only what the model computes with."""
        if self.model is self._own.model:
            return self
        round_into(self._own.model, self.model)
        form = copy.copy(self)
        form._modules = {**self._modules, "model": self._own.model}
        return form
