"""P-tuning v2: learned keys and values in front of every layer's own.

Liu et al. (2022), "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across Scales and
Tasks", https://arxiv.org/abs/2110.07602, section 3; the same form as prefix tuning (Li and Liang 2021) without
its reparameterisation:

    attention_l(q, [K_l; k], [V_l; v]),   K_l, V_l in R^{N x P x D} trained, for each layer l.

Differences from the paper: the keys and values start matched to each layer's own (mean and standard deviation
per head and dimension, of a probe of random tokens) rather than from N(0, 0.02): keys and values of frozen
layers differ in scale by layer, and a prefix out of scale takes all attention or none. By default the text
keeps its positions; `shift_positions` starts it at P, as the paper's code and peft do.

Counts: trained = deployed = tasks * sum over layers of 2 * N * P * D (2*L*P*H where all heads have their own
keys and values).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods import method
from methods.backbone import Shape
from methods.injection import Injection, Prefix, full_mask
from methods.method import PromptConfig, Start, hyperparameter
from methods.space import Choice, Float, Int

_PROBE_TOKENS = 256


@dataclass(frozen=True)
class Config(PromptConfig):
    """Length, dropout, start and learning rate of the prefixes."""

    learning_rate: float = hyperparameter(
        1e-2, allowed=Float(1e-3, 6e-2, log=True), help="AdamW's peak learning rate, of the prefixes"
    )
    num_virtual_tokens: int = hyperparameter(
        16, allowed=Int(4, 128, log=True), help="virtual tokens P in front of every layer's keys and values"
    )
    dropout: float = hyperparameter(
        0.0, allowed=Float(0.0, 0.2), searched=False, help="dropout on the prefixes, in training"
    )
    shift_positions: bool = hyperparameter(
        False, allowed=Choice((False, True)), searched=False, help="start the text at position P"
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if not 0 <= self.dropout < 1:
            found.append(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if self.shift_positions:
            found += self._position_problem(shape, max_length)
        return found


class Method(method.Method):
    """Per site, `key.<layer>` and `value.<layer>` `[tasks, N, P, D]`."""

    title = "P-tuning v2"

    def __init__(self, config: Config, shape: Shape, num_tasks: int) -> None:
        super().__init__(config, shape, num_tasks)
        self._sites = tuple(shape.sites)
        self._generator: torch.Generator | None = None

        def tables() -> nn.ParameterList:
            return nn.ParameterList(
                nn.Parameter(torch.empty(num_tasks, at.heads, config.num_virtual_tokens, at.width))
                for at in shape.sites.values()
            )

        self.key, self.value = tables(), tables()

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        shape = start.backbone.shape
        self._generator = start.generator
        length = min(_PROBE_TOKENS, shape.max_positions or _PROBE_TOKENS)
        ids = torch.randint(shape.vocab_size, (1, length), generator=start.generator)
        probe = start.backbone.keys_and_values(ids.to(start.backbone.device))
        for index, site in enumerate(self._sites):
            for table, own in zip((self.key[index], self.value[index]), probe[site], strict=True):
                own_NTD = own[0].float().cpu()
                mean, std = own_NTD.mean(1, keepdim=True), own_NTD.std(1, keepdim=True)
                table.copy_(mean + std * torch.randn(table.shape, generator=start.generator))

    def forward(self, task_B: Tensor) -> Injection:
        rows, length = len(task_B), self.config.num_virtual_tokens
        mask_BP = full_mask(rows, length, task_B.device)
        return Injection(
            rows=rows,
            prefixes={
                site: Prefix(self._drop(key[task_B]), self._drop(value[task_B]), mask_BP)
                for site, key, value in zip(self._sites, self.key, self.value, strict=True)
            },
            offset_B=torch.full_like(task_B, length) if self.config.shift_positions else None,
        )

    def _drop(self, table: Tensor) -> Tensor:
        """Dropout from the trial's own generator, so that a trial is the same alone and in a pack."""
        rate = self.config.dropout
        if not self.training or rate == 0:
            return table
        assert self._generator is not None, "initialize gives the generator that dropout draws from"
        kept = torch.rand(table.shape, generator=self._generator) >= rate
        dropped: Tensor = table * kept.to(table.device) / (1 - rate)
        return dropped
