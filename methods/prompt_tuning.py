"""Prompt tuning: learned vectors in front of the text, only at the input.

Lester, Al-Rfou and Constant (2021), "The Power of Scale for Parameter-Efficient Prompt Tuning",
https://arxiv.org/abs/2104.08691, section 2:

    [P; x],   P in R^{P x E} trained, x the embedded text.

Differences from the paper: any frozen encoder or decoder instead of T5; a head on text positions instead of generated
labels; one prompt for each task; the start "vocab" samples from the whole vocabulary, not from its 5,000 most common
tokens, which tokenizers do not list; the start "normal" has the mean and standard deviation of the embeddings.

Counts: trained = deployed = tasks * P * E.
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
from methods.sites.config import InputConfig
from methods.sites.input_site import prompt_injection
from methods.space import Choice, Float, Int, Text


@dataclass(frozen=True)
class Config(InputConfig):
    """The prompt's length, start and learning rate."""

    learning_rate: float = hyperparameter(
        3e-2, allowed=Float(1e-3, 0.3, log=True), help="AdamW's peak learning rate for the prompt"
    )
    num_virtual_tokens: int = hyperparameter(
        20, allowed=Int(5, 100, log=True), help="virtual tokens P in front of the text"
    )
    init: str = hyperparameter(
        "vocab",
        allowed=Choice(("vocab", "labels", "text", "normal")),
        searched=Choice(("vocab", "labels", "normal")),
        help="start: embeddings of random tokens, of the labels' words or of init_text, or random vectors of the same scale",
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
        if self.init == "text" and not self.init_text:
            found.append("init_text must be given if init is text")
        return found


class Method(method.Method):
    """Trains `prompt` `[tasks, P, E]`, one prompt for each task."""

    title = "Prompt tuning"
    may_differ = frozenset({"num_virtual_tokens"})

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        size = backbone.shape.embedding_size
        self.prompt = nn.Parameter(torch.empty(num_tasks, config.num_virtual_tokens, size))

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        weight_VE = start.backbone.embeddings.detach().float().cpu()
        for index, task in enumerate(start.tasks):
            given = {
                "labels": [id for label in start.label_ids[task] for id in label],
                "text": start.encode(self.config.init_text),
            }.get(self.config.init, [])
            self.prompt[index] = weight_VE[self._start_ids(len(weight_VE), given, start.generator)]
        if self.config.init == "normal":
            noise = torch.randn(self.prompt.shape, generator=start.generator)
            self.prompt.copy_(weight_VE.mean(0) + noise * weight_VE.std(0))

    def _start_ids(self, vocab_size: int, given: list[int], generator: torch.Generator) -> Tensor:
        """The tokens whose embeddings the prompt starts from, `[P]`: the given ones, then random ones."""
        ids = torch.randint(vocab_size, (self.config.num_virtual_tokens,), generator=generator)
        first = torch.tensor(given[: len(ids)], dtype=torch.long)
        ids[: len(first)] = first
        return ids

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        length_B = bundle.sizes("num_virtual_tokens", rows.members)
        table_XPE = bundle["prompt"].flatten(0, 1)
        return prompt_injection(table_XPE, rows, bundle.config.placement, backbone, length_B)
