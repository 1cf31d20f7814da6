"""Prompt tuning: learned vectors in front of the text, at the input only.

Lester, Al-Rfou and Constant (2021), "The Power of Scale for Parameter-Efficient Prompt Tuning",
https://arxiv.org/abs/2104.08691, section 2:

    [P; x],   P in R^{P x E} trained, x the embedded text.

Differences from the paper: any frozen encoder or decoder rather than T5; a head on text positions rather than
generated labels; a study of several tasks holds one prompt per task; the "vocab" start samples from the whole
vocabulary rather than its 5,000 most common tokens, which tokenizers do not tell; the "normal" start has the
embeddings' own mean and standard deviation.

Counts: trained = deployed = tasks * P * E.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods import method
from methods.backbone import Shape
from methods.injection import Injection, Prompt, full_mask
from methods.method import PromptConfig, Start, hyperparameter
from methods.space import Choice, Float, Int


@dataclass(frozen=True)
class Config(PromptConfig):
    """Length, start and learning rate of the prompt."""

    learning_rate: float = hyperparameter(
        3e-2, allowed=Float(1e-3, 0.3, log=True), help="AdamW's peak learning rate, of the prompt"
    )
    num_virtual_tokens: int = hyperparameter(
        20, allowed=Int(5, 100, log=True), help="virtual tokens P in front of the text"
    )
    init: str = hyperparameter(
        "vocab",
        allowed=Choice(("vocab", "labels", "normal")),
        help="start: embeddings of sampled tokens, of the class-label words, or a matching normal",
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        return super().problems(shape, max_length) + self._position_problem(shape, max_length)


class Method(method.Method):
    """A table of prompts, one per task: `prompt` `[tasks, P, E]`."""

    title = "Prompt tuning"

    def __init__(self, config: Config, shape: Shape, num_tasks: int) -> None:
        super().__init__(config, shape, num_tasks)
        self.prompt = nn.Parameter(torch.empty(num_tasks, config.num_virtual_tokens, shape.embedding_size))

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        weight_VE = start.backbone.embeddings.detach().float().cpu()
        for index, task in enumerate(start.tasks):
            ids = self._start_ids(
                weight_VE, [id for label in start.label_ids[task] for id in label], start.generator
            )
            self.prompt[index] = weight_VE[ids]
        if self.config.init == "normal":
            noise = torch.randn(self.prompt.shape, generator=start.generator)
            self.prompt.copy_(weight_VE.mean(0) + noise * weight_VE.std(0))

    def _start_ids(self, weight_VE: Tensor, label_ids: list[int], generator: torch.Generator) -> Tensor:
        """Tokens whose embeddings the prompt starts from, `[P]`: the labels' first, then sampled ones."""
        sampled = torch.randint(len(weight_VE), (self.config.num_virtual_tokens,), generator=generator)
        if self.config.init == "labels":
            given = torch.tensor(label_ids[: len(sampled)], dtype=torch.long)
            sampled[: len(given)] = given
        return sampled

    def forward(self, task_B: Tensor) -> Injection:
        rows, length = len(task_B), self.prompt.shape[1]
        return Injection(
            rows=rows,
            prompt=Prompt(self.prompt[task_B], full_mask(rows, length, task_B.device)),
            offset_B=torch.full_like(task_B, length),
        )
