"""P-tuning: a prompt at the input that is trained through an encoder network.

Liu et al. (2021), "GPT Understands, Too", https://arxiv.org/abs/2103.10385, section 3:

    [P_1 .. P_i, x, P_i+1 .. P_m],   P = encoder(E),   E in R^{P x H} trained;
    lstm:  P = W_3 relu(W_2 LSTM(E) + b_2) + b_3, the LSTM bidirectional with two layers;
    mlp:   P = W_3 relu(W_2 relu(W_1 E + b_1) + b_2) + b_3.

Prompts stand before, in the middle of, after or around the text (`placement`). The encoder makes the virtual tokens
depend on each other in training. It is run once after training; what is deployed is a prompt in the form of
`prompt_tuning`.

Differences from the paper: the head reads text positions, not a masked token; the last layer is scaled and shifted so
that the prompt starts with the mean and deviation of the model's embeddings (with PyTorch's default it would be orders
of magnitude off); each task has its own E, and all tasks share the encoder.

Counts: deployed = tasks * P * E. Trained: the same plus the encoder of width W: mlp: E*W + W + W*W + W + W*E + E;
lstm: a two-layer bidirectional LSTM of width W/2 in each direction, plus W*W + W + W*E + E.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods import method, prompt_tuning
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.backbone.shape import Shape
from methods.bundles.bundle import Bundle
from methods.bundles.recurrent import bidirectional
from methods.config import hyperparameter
from methods.method import Rows, Start
from methods.sites.config import InputConfig
from methods.sites.input_site import prompt_injection
from methods.sites.matching import match
from methods.space import Choice, Float, Int


@dataclass(frozen=True)
class Config(InputConfig):
    """The prompt's length, encoder and learning rate."""

    learning_rate: float = hyperparameter(
        1e-3, allowed=Float(1e-5, 1e-2, log=True), help="AdamW's peak learning rate for prompt and encoder"
    )
    num_virtual_tokens: int = hyperparameter(
        20, allowed=Int(3, 50, log=True), help="virtual tokens P at the text"
    )
    encoder: str = hyperparameter(
        "lstm", allowed=Choice(("lstm", "mlp")), help="network that produces the prompt in training"
    )
    encoder_width: int = hyperparameter(
        0,
        allowed=Int(0, 4096),
        searched=False,
        help="hidden units of the encoder; 0: the width of the input embeddings",
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if self.encoder_width < 0 or self.encoder_width % 2:
            found.append(f"encoder_width must be 0, or even and at least 2, not {self.encoder_width}")
        return found


class Method(method.Method):
    """Trains `embedding` `[tasks, P, E]` and the encoder: `lstm` or `first`, then `middle` and `last`."""

    title = "P-tuning"
    may_differ = frozenset({"num_virtual_tokens"})

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        size = backbone.shape.embedding_size
        width = config.encoder_width or size
        self.embedding = nn.Parameter(torch.empty(num_tasks, config.num_virtual_tokens, size))
        if config.encoder == "lstm":
            self.lstm = nn.LSTM(size, width // 2, num_layers=2, bidirectional=True, batch_first=True)
        else:
            self.first = nn.Linear(size, width)
        self.middle, self.last = nn.Linear(width, width), nn.Linear(width, size)

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        self.embedding.normal_(generator=start.generator)
        for name, parameter in self.named_parameters():
            if name != "embedding":
                bound = parameter.shape[-1] ** -0.5
                parameter.uniform_(-bound, bound, generator=start.generator)
        match(self.last, self.prompt().flatten(0, 1), start.backbone.embeddings.detach().float().cpu())

    def prompt(self) -> Tensor:
        """The encoder's output, `[tasks, P, E]`."""
        return _prompts(Bundle.of(self))

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        length_B = bundle.sizes("num_virtual_tokens", rows.members)
        return prompt_injection(_prompts(bundle), rows, bundle.config.placement, backbone, length_B)

    @torch.no_grad()
    def deployed(self, backbone: Backbone) -> method.Method:
        same = {name: getattr(self.config, name) for name in InputConfig.fields()}
        form = prompt_tuning.Method(prompt_tuning.Config(**same), backbone, self.num_tasks)
        form.prompt.copy_(self.prompt())
        return form.to(self.embedding.device)


def _prompts(bundle: Bundle) -> Tensor:
    """The encoders' output, `[K * tasks, P, E]`."""
    embedding_KTPE = bundle["embedding"]
    if bundle.config.encoder == "mlp":
        hidden_KXW = torch.relu(bundle.linear("first", embedding_KTPE.flatten(1, 2)))
    elif len(bundle) == 1:
        hidden_KXW = bundle.members[0].lstm(embedding_KTPE[0])[0].flatten(0, 1)[None]
    else:
        lengths = [member.config.num_virtual_tokens for member in bundle.members]
        length_K = torch.tensor(lengths, device=embedding_KTPE.device)
        weight = lambda name: bundle[f"lstm.{name}"]  # noqa: E731
        hidden_KXW = bidirectional(embedding_KTPE, weight, layers=2, length_K=length_K).flatten(1, 2)
    made_KXE = bundle.linear("last", torch.relu(bundle.linear("middle", hidden_KXW)))
    return made_KXE.reshape(-1, *embedding_KTPE.shape[2:])
