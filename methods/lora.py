"""LoRA (the usual alternative): low-rank updates of the model's linear layers.

Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685, section 4.1:

    W x + (alpha / r) B A x,   A in R^{r x in}, B in R^{out x r} trained, W frozen; A random, B zero at the start.

The update is added to each row's own, so trials of LoRA share the frozen model with all others. Names, start and number types are
those of peft, which loads what is exported. Several tasks share one adapter, each with its own head. Differences from the paper:
there is no dropout; `target: all-linear` adapts the feed-forward layers too, as is usual today. The adapter is float32 even in a
bfloat16 model, as in peft's own; its update is computed in float32 and the sum is rounded.

Counts: trained = deployed = the sum of r * (in + out) over the adapted layers, for any number of tasks.
"""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, Update
from methods.backbone.shape import Shape
from methods.bundles.bundle import Bundle
from methods.config import TrainedConfig, hyperparameter
from methods.method import Rows, Start
from methods.space import Choice, Float, Int

DOWN, UP = "lora_A.default.weight", "lora_B.default.weight"
"""peft's names of A and B under an adapted layer's."""
_ROWS, _TOKENS = 5, 7
"""Of the forward that shows what layers are given."""


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
    """Trains `[r, in]` and `[out, r]` for each of the layers `targets`, under the layers' names in `model`."""

    title = "LoRA"
    baseline = True
    may_differ = frozenset({"r", "lora_alpha"})

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        self.targets = _linear_layers(backbone, config.target)
        self.model = nn.Module()
        for name in self.targets:
            into, out = _widths(backbone.model.get_submodule(name))
            _put(self.model, f"{name}.{DOWN}", nn.Parameter(torch.empty(config.r, into)))
            _put(self.model, f"{name}.{UP}", nn.Parameter(torch.empty(out, config.r)))

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        with torch.random.fork_rng(devices=[]):  # nn.init draws from torch's global generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=start.generator)))
            for name in self.targets:
                nn.init.kaiming_uniform_(self.model.get_parameter(f"{name}.{DOWN}"), a=math.sqrt(5))
                nn.init.zeros_(self.model.get_parameter(f"{name}.{UP}"))

    @torch.no_grad()
    def shares_forward(self, backbone: Backbone) -> bool:
        """Not where an adapted layer sees what rows share (DeBERTa's distances) or tokens without their rows (experts)."""
        seen: dict[str, set[int]] = {name: set() for name in self.targets}
        with contextlib.ExitStack() as hooks:
            for name in self.targets:
                hook = functools.partial(_count, seen[name])
                hooks.callback(backbone.model.get_submodule(name).register_forward_pre_hook(hook).remove)
            ids_BT = torch.zeros(_ROWS, _TOKENS, dtype=torch.long, device=backbone.device)
            two_parts = backbone.language_model and backbone.shape.architecture == "encoder-decoder"
            written_BU = ids_BT if two_parts else None
            backbone.forward(
                ids_BT, torch.ones_like(ids_BT, dtype=torch.bool), Injection(_ROWS), None, written_BU
            )
        counts = {_ROWS, _ROWS * _TOKENS, _ROWS * (1 + _TOKENS)}  # a decoder reads its start token too
        return all(found and found <= counts for found in seen.values())

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        assert rows.members is not None, "rows of a bundle come with their members"
        owner_B = rows.members.owner_X
        scales = [member.config.lora_alpha / member.config.r for member in bundle.members]
        scale_K11 = bundle[f"model.{bundle.members[0].targets[0]}.{UP}"].new_tensor(scales)[:, None, None]
        return Injection(
            rows=len(rows),
            updates={
                name: Update(
                    bundle[f"model.{name}.{DOWN}"], scale_K11 * bundle[f"model.{name}.{UP}"], owner_B
                )
                for name in bundle.members[0].targets
            },
        )


def _count(seen: set[int], module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    """Notes how many rows, or tokens of all rows, a layer is given."""
    seen.add(len(args[0]))


def _widths(layer: nn.Module) -> tuple[int, int]:
    """The widths of a linear layer's input and output."""
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    into, out = weight.shape if isinstance(layer, Conv1D) else reversed(weight.shape)
    return into, out


def _put(tree: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Registers a parameter under a name with dots."""
    *path, last = name.split(".")
    for part in path:
        if part not in dict(tree.named_children()):
            tree.add_module(part, nn.Module())
        tree = tree.get_submodule(part)
    tree.register_parameter(last, parameter)


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
