"""Multi-task prompt tuning: all tasks share a pool of prompts, and a selector mixes them for each text.

Mixes of shared prompts are in Asai et al. (2022), "ATTEMPT", https://arxiv.org/abs/2205.11961, and Wang et al. (2023),
"Multitask Prompt Tuning", https://arxiv.org/abs/2303.02861. This form is that of the prompt-tuning playbook, a text
that describes and compares these methods on one example:

    p_t(x) = sum_i S_t(x)_i p_i,   p_i in R^{P x E} shared,
    per_task:        S_t(x) = softmax(W_t E(x) + b_t);
    task_embedding:  S_t(x) = softmax(W (E(x) + e_t) + b), one selector and one vector per task;
    task_id:         S_t    = softmax(b_t), which ignores the text.

The loss is sum_t alpha_t L_t, as in every trial. Differences from the playbook: E(x) is the bare model's feature of
the text scaled to length 1, since its own length would saturate the softmax; selectors learn more slowly than prompts
(`selector_rate`), as in ATTEMPT.

Counts: trained = deployed = M*P*E plus the selectors' tasks * (M*H + M), M*H + M + tasks*H, or tasks * M.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.backbone.shape import Shape
from methods.bundles.bundle import Bundle, first_of
from methods.config import hyperparameter
from methods.method import Rows, Start
from methods.sites.config import InputConfig
from methods.sites.input_site import placed
from methods.sites.pool_usage import PoolUsage, count
from methods.space import Choice, Float, Int


@dataclass(frozen=True)
class Config(InputConfig):
    """The size of the shared pool, the kind of selector, and the learning rates."""

    learning_rate: float = hyperparameter(
        3e-2, allowed=Float(1e-2, 0.4, log=True), help="AdamW's peak learning rate for the shared prompts"
    )
    num_virtual_tokens: int = hyperparameter(
        20, allowed=Int(10, 100, log=True), help="virtual tokens P that each text gets"
    )
    pool_size: int = hyperparameter(10, allowed=Int(5, 20, log=True), help="prompts M that the tasks share")
    selector: str = hyperparameter(
        "per_task",
        allowed=Choice(("per_task", "task_embedding", "task_id")),
        help="what chooses the mix: a selector for each task, one selector that knows the task, or the task alone",
    )
    selector_rate: float = hyperparameter(
        0.1,
        allowed=Float(0.01, 1.0, log=True),
        searched=False,
        help="selectors' learning rate, as a multiple of the prompts'",
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if self.pool_size < 1:
            found.append(f"pool_size must be at least 1, not {self.pool_size}")
        if not self.selector_rate > 0:
            found.append(f"selector_rate must be above 0, not {self.selector_rate}")
        return found


class Method(method.Method):
    """Mixes shared prompts for each text.

    Its parameters are `pool` `[M, P, E]` and, depending on the selector, `weight` `[tasks or 1, M, H]`, `bias`
    `[tasks or 1, M]` and `task` `[tasks, H]`.
    """

    title = "Multi-task prompt tuning"
    may_differ = frozenset({"num_virtual_tokens", "pool_size", "selector_rate"})

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        shape, size = backbone.shape, config.pool_size
        selectors = 1 if config.selector == "task_embedding" else num_tasks
        self.pool = nn.Parameter(torch.empty(size, config.num_virtual_tokens, shape.embedding_size))
        self.bias = nn.Parameter(torch.empty(selectors, size))
        if config.selector != "task_id":
            self.weight = nn.Parameter(torch.empty(selectors, size, shape.hidden_size))
        if config.selector == "task_embedding":
            self.task = nn.Parameter(torch.empty(num_tasks, shape.hidden_size))
        self.usage = PoolUsage(size)

    @property
    def query(self) -> str | None:
        return None if self.config.selector == "task_id" else "mean"

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        weight_VE = start.backbone.embeddings.detach().float().cpu()
        ids = torch.randint(len(weight_VE), self.pool.shape[:2], generator=start.generator)
        self.pool.copy_(weight_VE[ids])
        # E(x) has length 1, so scores have deviation 1: the mix is neither even nor a single prompt.
        if self.config.selector == "task_id":
            self.bias.normal_(generator=start.generator)
            return
        self.bias.zero_()
        self.weight.normal_(generator=start.generator)
        if self.config.selector == "task_embedding":
            self.task.normal_(std=self.task.shape[1] ** -0.5, generator=start.generator)

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        selectors = [parameter for name, parameter in self.named_parameters() if name != "pool"]
        return [([self.pool], 1.0), (selectors, self.config.selector_rate)]

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        assert rows.members is not None, "rows of a bundle come with their members"
        share_BM = _shares(bundle, rows)
        if bundle.training:
            count(bundle["usage.taken_M"], share_BM, rows.members)
        mixed_KXPE = torch.einsum("kxm,kmpe->kxpe", rows.members.apart(share_BM), bundle["pool"])
        length_B = bundle.sizes("num_virtual_tokens", rows.members)
        mask_BP = None if length_B is None else first_of(length_B, mixed_KXPE.shape[2])
        return Injection(
            len(rows), prompt=placed(rows.members.joined(mixed_KXPE), bundle.config.placement, mask_BP)
        )

    def metrics(self) -> dict[str, float]:
        return self.usage.metrics()

    def selection(self, rows: Rows) -> Tensor:
        """The shares S_t(x) of each row, `[B, M]`; they add up to 1."""
        return _shares(Bundle.of(self), rows)


def _shares(bundle: Bundle, rows: Rows) -> Tensor:
    """The shares of each row in its member's pool, `[B, M]`."""
    bias_XM = bundle["bias"].flatten(0, 1)
    which_B = rows.task_B
    if bundle.config.selector == "task_id":
        scores_BM = bias_XM[which_B]
    else:
        assert rows.query_BH is not None, "rows come with the query that the method asks for"
        text_BH = nn.functional.normalize(rows.query_BH, dim=1)
        if bundle.config.selector == "task_embedding":
            text_BH = text_BH + bundle["task"].flatten(0, 1)[which_B]
            which_B = which_B // bundle.members[0].num_tasks
        weight_BMH = bundle["weight"].flatten(0, 1)[which_B]
        scores_BM = torch.einsum("bmh,bh->bm", weight_BMH, text_BH) + bias_XM[which_B]
    size_B = bundle.sizes("pool_size", rows.members)
    if size_B is not None:
        scores_BM = scores_BM.masked_fill(~first_of(size_B, scores_BM.shape[1]), -torch.inf)
    return scores_BM.softmax(1)
