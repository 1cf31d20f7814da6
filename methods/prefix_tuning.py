"""Prefix tuning: virtual tokens in every layer, trained as vectors or through a network.

Li and Liang (2021), "Prefix-Tuning: Optimizing Continuous Prompts for Generation",
https://arxiv.org/abs/2101.00190, section 4:

    hidden:  K_l, V_l = the layer's own keys and values of h_l,   h_l in R^{P x H} trained, for each layer l;
    mlp:     [K_1; V_1; ...; K_L; V_L] = W_2 tanh(W_1 E + b_1) + b_2,   E in R^{P x H} trained (section 4.3).

`hidden` prepends vectors at every layer (L*P*H parameters), as in the prompt-tuning playbook, a text that describes
and compares these methods on one example. It is exact: of a position that is overwritten at every layer, others see
only its keys and values, which the layer's frozen norm, projections and rotation (positions 0 to P - 1) make. `mlp` is
the paper's reparameterisation with the shape that peft gives it; the network is run once after training and not
deployed.

Differences from the paper: `hidden` starts from the layer inputs of sampled tokens, or of training texts; `mlp` starts from PyTorch's
default, with the last layer scaled and shifted so that keys and values start with the mean and deviation of each
layer's own. By default the text keeps its positions (`shift_positions`). Each task has its own table, and all tasks
share the network.

Counts: hidden: trained = deployed = tasks * L*P*H. mlp: deployed = tasks * 2*L*P*N*D (p_tuning_v2's form), trained =
tasks * P*H + H*W + W + W*(2*L*N*D) + 2*L*N*D for width W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from methods import method, p_tuning_v2
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, Site
from methods.backbone.shape import Shape
from methods.bundles.bundle import Bundle
from methods.config import hyperparameter
from methods.method import Rows, Start
from methods.sites.config import KeyValueConfig, chosen_sites
from methods.sites.key_value_site import random_text, table_injection, training_text
from methods.sites.matching import match
from methods.space import Choice, Float, Int


@dataclass(frozen=True)
class Config(KeyValueConfig):
    """The prefixes' length, form and learning rate."""

    learning_rate: float = hyperparameter(
        1e-2, allowed=Float(1e-4, 1e-1, log=True), help="AdamW's peak learning rate for the prefixes"
    )
    num_virtual_tokens: int = hyperparameter(
        16, allowed=Int(5, 100, log=True), help="virtual tokens P in front of every layer's text"
    )
    parameterization: str = hyperparameter(
        "hidden",
        allowed=Choice(("hidden", "mlp")),
        help="what is trained: a vector for each layer and token, or a network that produces keys and values",
    )
    init: str = hyperparameter(
        "vocab",
        allowed=Choice(("vocab", "examples")),
        help="start of the vectors: what each layer gets for random tokens, or for training texts",
        where={"parameterization": "hidden"},
    )
    mlp_width: int = hyperparameter(
        128,
        allowed=Int(128, 800, log=True),
        searched=False,
        help="hidden units of the mlp",
        where={"parameterization": "mlp"},
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if self.mlp_width < 1:
            found.append(f"mlp_width must be at least 1, not {self.mlp_width}")
        if shape.max_positions is not None and self.num_virtual_tokens > shape.max_positions:
            found.append(
                f"num_virtual_tokens must be at most {shape.max_positions}, the model's number of positions, "
                f"not {self.num_virtual_tokens}"
            )
        return found


class Method(method.Method):
    """Trains `hidden` `[L, tasks, P, H]`, or `embedding` `[tasks, P, H]` with the layers `first` and `last`."""

    title = "Prefix tuning"
    may_differ = frozenset({"num_virtual_tokens", "mlp_width"})

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        shape = backbone.shape
        self._sites = chosen_sites(config.layers, shape)
        self._shapes = [shape.sites[site] for site in self._sites]
        self._kept: tuple[tuple[Any, ...], dict[Site, tuple[Tensor, Tensor]]] | None = None
        length, width = config.num_virtual_tokens, shape.hidden_size
        if config.parameterization == "hidden":
            self.hidden = nn.Parameter(torch.empty(len(self._sites), num_tasks, length, width))
        else:
            outputs = sum(2 * at.heads * at.width for at in self._shapes)
            self.embedding = nn.Parameter(torch.empty(num_tasks, length, width))
            self.first = nn.Linear(width, config.mlp_width)
            self.last = nn.Linear(config.mlp_width, outputs)

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        if self.config.parameterization == "hidden":
            inputs = start.backbone.layer_inputs(random_text(start))
            for index, site in enumerate(self._sites):
                own_TH = inputs[site][0].float().cpu()
                drawn = torch.randint(len(own_TH), self.hidden.shape[1:3], generator=start.generator)
                self.hidden[index] = own_TH[drawn]
            for task in range(self.num_tasks) if self.config.init == "examples" else ():
                given = start.backbone.layer_inputs(
                    training_text(start, task, self.config.num_virtual_tokens)
                )
                for index, site in enumerate(self._sites):
                    text_TH = given[site][0].float().cpu()
                    self.hidden[index, task, : len(text_TH)] = text_TH
            return
        self.embedding.normal_(generator=start.generator)
        for layer in (self.first, self.last):
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=start.generator)
            layer.bias.zero_()
        match(self.last, _outputs(Bundle.of(self)).flatten(0, 1), torch.cat(self._own(start), dim=1))

    def _own(self, start: Start) -> list[Tensor]:
        """The keys and values of a random text in each chosen layer, `[T, N*D]`, in the order of the outputs."""
        probe = start.backbone.keys_and_values(random_text(start))
        return [
            part[0].transpose(0, 1).flatten(1).float().cpu() for site in self._sites for part in probe[site]
        ]

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        alone = len(bundle) == 1 and not torch.is_grad_enabled()
        tables = bundle.members[0]._kept_tables(backbone) if alone else _tables(bundle, backbone)
        length_B = bundle.sizes("num_virtual_tokens", rows.members)
        return table_injection(tables, rows, bundle.config.shift_positions, length_B)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode; training forgets the tables that were kept."""
        if mode:
            self._kept = None
        return super().train(mode)

    def _kept_tables(self, backbone: Backbone) -> dict[Site, tuple[Tensor, Tensor]]:
        """The tables, computed again only if a parameter has changed, since that takes as long as answering a row."""
        state = (id(backbone), *((p.data_ptr(), p._version) for p in self.parameters()))
        if self._kept is None or self._kept[0] != state:
            self._kept = state, _tables(Bundle.of(self), backbone)
        return self._kept[1]

    @torch.no_grad()
    def deployed(self, backbone: Backbone) -> method.Method:
        if self.config.parameterization == "hidden":
            return self
        same = {name: getattr(self.config, name) for name in KeyValueConfig.fields()}
        form = p_tuning_v2.Method(p_tuning_v2.Config(**same), backbone, self.num_tasks)
        for index, (key, value) in enumerate(_tables(Bundle.of(self), backbone).values()):
            form.key[index].copy_(key)
            form.value[index].copy_(value)
        return form.to(self.embedding.device)


def _tables(bundle: Bundle, backbone: Backbone) -> dict[Site, tuple[Tensor, Tensor]]:
    """The keys and values of each site, `[K * tasks, N, P, D]`."""
    sites = chosen_sites(bundle.config.layers, backbone.shape)
    if bundle.config.parameterization == "hidden":
        each_KTPH = bundle["hidden"].unbind(1)
        return backbone.project({site: at.flatten(0, 1) for site, at in zip(sites, each_KTPH, strict=True)})
    shapes = [backbone.shape.sites[site] for site in sites for _ in range(2)]
    outputs = torch.split(_outputs(bundle), [at.heads * at.width for at in shapes], dim=-1)
    tables = [
        output.reshape(*output.shape[:2], at.heads, at.width).transpose(1, 2)
        for output, at in zip(outputs, shapes, strict=True)
    ]
    return dict(zip(sites, zip(tables[::2], tables[1::2], strict=True), strict=True))


def _outputs(bundle: Bundle) -> Tensor:
    """The networks' output, `[K * tasks, P, 2*L*N*D]`."""
    embedding_KTPH = bundle["embedding"]
    inner_KXH = torch.tanh(bundle.linear("first", embedding_KTPH.flatten(1, 2)))
    made_KXO = bundle.linear("last", inner_KXH)
    return made_KXO.reshape(-1, embedding_KTPH.shape[2], made_KXO.shape[2])
