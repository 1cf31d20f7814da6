"""P-tuning v2: learned keys and values in front of those of every layer.

Liu et al. (2022), "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across Scales and
Tasks", https://arxiv.org/abs/2110.07602, section 3; the same form as prefix tuning (Li and Liang 2021) without
its reparameterisation:

    attention_l(q, [K_l; k], [V_l; v]),   K_l, V_l in R^{N x P x D} trained, for each layer l.

Differences from the paper: keys and values start with the mean and standard deviation of each layer's own (per head
and dimension, measured on random tokens), or from those of training texts or a given text, not from N(0, 0.02). The scale differs
between frozen layers, and a prefix with a wrong scale takes all attention or none. `init: zero` leaves the keys at that scale: zero
keys would make all virtual tokens alike, and they would stay so. By default the text keeps its
positions; `shift_positions` starts it at P, as the paper's code and peft do.

Counts: trained = deployed = tasks * sum over layers of 2 * N * P * D (2*L*P*H if every head has its own keys and
values).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.backbone.shape import Shape
from methods.bundles.bundle import Bundle
from methods.config import hyperparameter
from methods.method import Rows, Start
from methods.sites.config import KeyValueConfig, chosen_sites
from methods.sites.key_value_site import matched, random_text, table_injection, training_text
from methods.space import Choice, Float, Int, Text


@dataclass(frozen=True)
class Config(KeyValueConfig):
    """The prefixes' length, dropout, start, layers and learning rate."""

    learning_rate: float = hyperparameter(
        1e-2, allowed=Float(1e-3, 6e-2, log=True), help="AdamW's peak learning rate for the prefixes"
    )
    num_virtual_tokens: int = hyperparameter(
        16, allowed=Int(4, 128, log=True), help="virtual tokens P in front of every layer's keys and values"
    )
    dropout: float = hyperparameter(
        0.0, allowed=Float(0.0, 0.2), searched=False, help="dropout on the prefixes in training"
    )
    init: str = hyperparameter(
        "matched",
        allowed=Choice(("matched", "zero", "examples", "text")),
        searched=Choice(("matched", "zero", "examples")),
        help="start: random with the mean and deviation of each layer's own keys and values, the same with values of zero, or "
        "the keys and values of training texts or of init_text",
    )
    init_text: str = hyperparameter(
        "",
        allowed=Text(),
        searched=False,
        help="text to start from with init: text",
        where={"init": "text"},
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if not 0 <= self.dropout < 1:
            found.append(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if self.init == "text" and not self.init_text:
            found.append("init_text must be given if init is text")
        return found


class Method(method.Method):
    """Trains `key.<number>` and `value.<number>` `[tasks, N, P, D]` for each chosen site."""

    title = "P-tuning v2"
    may_differ = frozenset({"num_virtual_tokens", "dropout"})

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        self._sites = chosen_sites(config.layers, backbone.shape)
        self._generator: torch.Generator | None = None

        def tables() -> nn.ParameterList:
            shapes = [backbone.shape.sites[site] for site in self._sites]
            return nn.ParameterList(
                nn.Parameter(torch.empty(num_tasks, at.heads, config.num_virtual_tokens, at.width))
                for at in shapes
            )

        self.key, self.value = tables(), tables()

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        self._generator = start.generator
        probe = start.backbone.keys_and_values(random_text(start))
        for index, site in enumerate(self._sites):
            for which, table in enumerate((self.key[index], self.value[index])):
                lead = (self.num_tasks, self.config.num_virtual_tokens)
                table.copy_(matched(probe[site][which], lead, start.generator).transpose(1, 2))
            if self.config.init == "zero":
                self.value[index].zero_()
        for task in range(self.num_tasks) if self.config.init in ("examples", "text") else ():
            given = start.backbone.keys_and_values(self._text(start, task))
            for index, site in enumerate(self._sites):
                for which, table in enumerate((self.key[index], self.value[index])):
                    text_NTD = given[site][which][0].float().cpu()
                    table[task, :, : text_NTD.shape[1]] = text_NTD

    def _text(self, start: Start, task: int) -> Tensor:
        """The input embeddings of the text to start from, `[1, T, E]`, at most P tokens; missing ones start at random."""
        length = self.config.num_virtual_tokens
        if self.config.init == "examples":
            return training_text(start, task, length)
        ids = start.encode(self.config.init_text)[:length]
        return start.backbone.embed(torch.tensor([ids], device=start.backbone.device))

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        sites = chosen_sites(bundle.config.layers, backbone.shape)
        tables = {
            site: (_dropped(bundle, f"key.{number}"), _dropped(bundle, f"value.{number}"))
            for number, site in enumerate(sites)
        }
        length_B = bundle.sizes("num_virtual_tokens", rows.members)
        return table_injection(tables, rows, bundle.config.shift_positions, length_B)

    def drop(self, shape: torch.Size) -> Tensor:
        """Dropout's factors for a table, drawn from the trial's own generator: a trial is the same alone and in a pack."""
        assert self._generator is not None, "initialize gives the generator that dropout draws from"
        kept = torch.rand(shape, generator=self._generator) >= self.config.dropout
        factors: Tensor = kept / (1 - self.config.dropout)
        return factors


def _dropped(bundle: Bundle, name: str) -> Tensor:
    """A table of all members, `[K * tasks, N, P, D]`, after each member's dropout."""
    table_KTNPD = bundle[name]
    if bundle.training and any(member.config.dropout for member in bundle.members):
        factors = torch.ones(table_KTNPD.shape)
        for number, member in enumerate(bundle.members):
            if member.config.dropout:
                own = member.get_parameter(name).shape
                assert isinstance(member, Method)
                factors[number, :, :, : own[2]] = member.drop(own)
        table_KTNPD = table_KTNPD * factors.to(table_KTNPD)
    return table_KTNPD.flatten(0, 1)
