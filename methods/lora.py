"""LoRA (the usual alternative): low-rank updates of a copy of the model's weights, by the peft library.

Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685, section 4.1:

    W x + (alpha / r) B A x,   A in R^{r x in}, B in R^{out x r} trained, W frozen; A random, B zero at the start.

Several tasks share one adapter, each with its own head. Differences from the paper: there is no dropout, which would
not draw from the trial's generator; `target: all-linear` adapts the feed-forward layers too, as is usual today. The
adapter is float32 even in a bfloat16 model, as in peft's own; peft computes its update in float32 and rounds the sum.

Counts: trained = deployed = the sum of r * (in + out) over the adapted layers, for any number of tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.backbone.masters import widen
from methods.backbone.shape import Shape
from methods.config import TrainedConfig, hyperparameter
from methods.method import Rows, Start
from methods.space import Choice, Float, Int

_ADAPTER = "default"


@dataclass(frozen=True)
class Config(TrainedConfig):
    """The adapter's rank, scale, layers and learning rate."""

    learning_rate: float = hyperparameter(
        2e-4, allowed=Float(1e-5, 1e-2, log=True), help="AdamW's peak learning rate for the adapter"
    )
    r: int = hyperparameter(8, allowed=Int(1, 64, log=True), help="rank of the updates")
    lora_alpha: int = hyperparameter(
        16, allowed=Int(1, 128, log=True), searched=False, help="scale of the updates, divided by r"
    )
    target: str = hyperparameter(
        "attention",
        allowed=Choice(("attention", "all-linear")),
        help="adapted layers: the attention's projections, or every linear layer",
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        for name in ("r", "lora_alpha"):
            if getattr(self, name) < 1:
                found.append(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.target == "attention" and not shape.sites:
            found.append(
                "target must be all-linear, not attention: promptfront cannot find this model's attention layers"
            )
        return found


class Method(method.Method):
    """Trains and stores only the adapter that peft puts at `targets` into `model`, a copy of the backbone's model."""

    title = "LoRA"
    baseline = True
    private_backbone = True

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        self._own = backbone.copy()
        self.model = self._own.model
        self.targets = _linear_layers(self._own, config.target)
        transposed = isinstance(self.model.get_submodule(self.targets[0]), Conv1D)  # in GPT-2, all of them
        self.adapter = peft.LoraConfig(
            r=config.r,
            lora_alpha=config.lora_alpha,
            target_modules=list(self.targets),  # a copy, since peft shortens a long list in place
            fan_in_fan_out=transposed,
        )
        peft.inject_adapter_in_model(self.adapter, self.model, adapter_name=_ADAPTER)
        widen(self.model)
        self.model.eval()

    @property
    def own_backbone(self) -> Backbone:
        return self._own

    def initialize(self, start: Start) -> None:
        with torch.random.fork_rng(devices=[]):  # peft initialises from torch's global generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=start.generator)))
            for module in self.model.modules():
                if isinstance(module, LoraLayer):
                    module.reset_lora_parameters(_ADAPTER, init_lora_weights=True)

    def forward(self, rows: Rows, backbone: Backbone) -> Injection:
        return Injection(rows=len(rows))


def _linear_layers(backbone: Backbone, target: str) -> list[str]:
    """The names of the linear layers to adapt: all, or those inside the attention modules."""
    attentions = backbone.attention_modules()
    scores: Any = backbone.model.get_output_embeddings() if backbone.language_model else None  # type: ignore[operator]
    inside = {id(layer) for attention in attentions for layer in attention.modules()}
    return [
        name
        for name, layer in backbone.model.named_modules()
        if isinstance(layer, nn.Linear | Conv1D)
        and name.partition(".")[0] != "pooler"  # heads read the frozen pooler, if any
        and layer is not scores  # the vocabulary's scores, which peft leaves out too
        and (target == "all-linear" or id(layer) in inside)
    ]
