"""Prompt pool: a set of prompts from which each text picks or mixes its own.

Wang et al. (2022), "Learning to Prompt for Continual Learning" (L2P), https://arxiv.org/abs/2112.08654, section 4:

    top_k:  the k prompts whose keys have the highest cosine with the query q(x), joined;
            loss + pull * sum over the chosen (1 - cos(q(x), key));
    mix:    sum_i w_i P_i,   w = softmax(cos(W q(x) + b, key_i) / temperature),   W and b trained too;
            with `keys: prompts` no key and no W:   w = softmax(cos(q(x), mean of P_i) / temperature).

The last is the pool of "The Prompt Tuning Playbook", softmax(E(x)^T P); the cosine stands for its product, whose size would
depend on the model, so that `temperature` means the same in both.

The query is the bare model's feature of the row; it does not change and is computed once for each data set. Each row
chooses for itself, never a batch as a whole. Gradients reach the keys through the pull loss (top_k) or the weights
(mix). The prompts stand among the text's embeddings, or are keys and values of every layer (`site`).

Differences from the paper: the query is a readout of a language model, not [CLS] of an image model. Keys start at the
queries of training rows that lie far apart (k-means++): random keys are all equally far from real queries, so that one
of them would be chosen for every row, which the paper counters by penalising frequent prompts. Each task has its own
pool.

Counts, for each task: trained = deployed = M*P*E + M*H at the input, or 2*L*M*P*N*D + M*H as keys and values; mix adds
H*H + H once for all tasks. With `keys: prompts`: M*P*E.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods import method
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, Prefix, full_mask
from methods.backbone.shape import Shape
from methods.bundles.bundle import Bundle, Segments, first_of
from methods.config import hyperparameter
from methods.method import Rows, Start
from methods.sites.config import OUT_OF_REACH, InputConfig, placement_field
from methods.sites.input_site import placed
from methods.sites.key_value_site import matched, random_text
from methods.sites.pool_usage import PoolUsage, count
from methods.space import Choice, Float, Int


@dataclass(frozen=True)
class Config(InputConfig):
    """The pool's size, the choice from it, the prompts' place, and the learning rate."""

    learning_rate: float = hyperparameter(
        1e-2, allowed=Float(1e-3, 5e-2, log=True), help="AdamW's peak learning rate for prompts and keys"
    )
    num_virtual_tokens: int = hyperparameter(
        5, allowed=Int(5, 20, log=True), help="virtual tokens P in each prompt; a text gets top_k prompts"
    )
    pool_size: int = hyperparameter(10, allowed=Int(5, 20, log=True), help="prompts M in the pool")
    selection: str = hyperparameter(
        "top_k",
        allowed=Choice(("top_k", "mix")),
        help="each text takes the top_k nearest prompts, or a mix of all",
    )
    top_k: int = hyperparameter(
        2, allowed=Int(1, 5), help="prompts that each text takes", where={"selection": "top_k"}
    )
    pull: float = hyperparameter(
        0.5,
        allowed=Float(0.1, 1.0),
        searched=False,
        help="weight of the loss that pulls chosen keys to their queries",
        where={"selection": "top_k"},
    )
    keys: str = hyperparameter(
        "learned",
        allowed=Choice(("learned", "prompts")),
        searched=False,
        help="learned: each prompt has a key, and the query is transformed; prompts: the mean of a prompt is its key",
        where={"selection": "mix"},
    )
    temperature: float = hyperparameter(
        0.1,
        allowed=Float(0.01, 1.0, log=True),
        searched=False,
        help="temperature of the mix; with a low one, one prompt gets almost all the weight",
        where={"selection": "mix"},
    )
    site: str = hyperparameter(
        "input",
        allowed=Choice(("input", "key_value")),
        searched=False,
        help="prompts among the text's embeddings, or keys and values of every layer",
    )
    placement: str = placement_field(where={"site": "input"})
    query_readout: str = hyperparameter(
        "mean",
        allowed=Choice(("first", "mean", "last")),
        searched=False,
        help="which of the bare model's hidden states is the query",
    )

    @property
    def takes_positions(self) -> bool:
        return self.site == "input"

    @property
    def row_tokens(self) -> int:
        return self.num_virtual_tokens * (self.top_k if self.selection == "top_k" else 1)

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        for name in ("pool_size", "top_k"):
            if getattr(self, name) < 1:
                found.append(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.selection == "top_k" and self.top_k > self.pool_size:
            found.append(f"top_k must be at most pool_size ({self.pool_size}), not {self.top_k}")
        if not self.temperature > 0:
            found.append(f"temperature must be above 0, not {self.temperature}")
        if not self.pull >= 0:
            found.append(f"pull must be at least 0, not {self.pull}")
        if self.site == "key_value" and not shape.sites:
            found.append(OUT_OF_REACH)
        if self.prompts_are_keys and (self.site != "input" or shape.embedding_size != shape.hidden_size):
            found.append(
                "keys must be learned, not prompts: a query can be compared with prompts only at site: input, in a model whose "
                "embeddings are as wide as its hidden states"
            )
        return found

    @property
    def prompts_are_keys(self) -> bool:
        return self.selection == "mix" and self.keys == "prompts"


class Method(method.Method):
    """Picks or mixes prompts for each text.

    Its parameters are `keys` `[tasks, M, H]` (None where prompts are keys) and `tables`: prompts `[tasks, M, P, E]`, or alternating
    keys and values `[tasks, M, P, N, D]`.
    """

    title = "Prompt pool"
    may_differ = frozenset({"num_virtual_tokens", "pool_size", "top_k"})

    def __init__(self, config: Config, backbone: Backbone, num_tasks: int) -> None:
        super().__init__(config, backbone, num_tasks)
        shape = backbone.shape
        lead = (num_tasks, config.pool_size, config.num_virtual_tokens)
        self._sites = tuple(shape.sites) if config.site == "key_value" else ()
        sizes = [(shape.embedding_size,)] if config.site == "input" else []
        sizes += [(at.heads, at.width) for at in shape.sites.values() for _ in range(2) if self._sites]  # type: ignore[misc]
        self.tables = nn.ParameterList(nn.Parameter(torch.empty(*lead, *size)) for size in sizes)
        keys, width = not config.prompts_are_keys, shape.hidden_size
        self.keys = nn.Parameter(torch.empty(num_tasks, config.pool_size, width)) if keys else None
        self.encoder = nn.Linear(width, width) if keys and config.selection == "mix" else None
        self.usage = PoolUsage(config.pool_size)

    @property
    def query(self) -> str | None:
        return str(self.config.query_readout)

    @torch.no_grad()
    def initialize(self, start: Start) -> None:
        assert start.queries is not None, "a method with a query is given those of the training rows"
        if self.keys is not None:
            for task, queries_RH in enumerate(start.queries):
                self.keys[task] = spread(queries_RH, self.config.pool_size, start.generator)
        if self.encoder is not None:
            self.encoder.weight.copy_(torch.eye(len(self.encoder.weight)))
            self.encoder.bias.zero_()
        if self.config.site == "input":
            weight_VE = start.backbone.embeddings.detach().float().cpu()
            (table,) = self.tables
            table.copy_(weight_VE[torch.randint(len(weight_VE), table.shape[:3], generator=start.generator)])
            return
        own = start.backbone.keys_and_values(random_text(start))
        parts = [part for site in self._sites for part in own[site]]
        for table, part in zip(self.tables, parts, strict=True):
            table.copy_(matched(part, tuple(table.shape[:3]), start.generator))

    @classmethod
    def inject(cls, bundle: Bundle, rows: Rows, backbone: Backbone) -> Injection:
        assert rows.members is not None, "rows of a bundle come with their members"
        choose = _pick if bundle.config.selection == "top_k" else _mix
        chosen, mask_BP, loss_B = choose(bundle, rows, rows.members)
        if bundle.config.site == "input":
            prompt = placed(chosen[0], bundle.config.placement, mask_BP)
            return Injection(len(rows), prompt=prompt, auxiliary_loss_B=loss_B)
        turned = [part.transpose(1, 2) for part in chosen]  # [B, N, P, D]
        if mask_BP is None:
            mask_BP = full_mask(len(rows), turned[0].shape[2], rows.task_B.device)
        prefixes = {
            site: Prefix(key, value, mask_BP)
            for site, key, value in zip(backbone.shape.sites, turned[::2], turned[1::2], strict=True)
        }
        return Injection(len(rows), prefixes=prefixes, auxiliary_loss_B=loss_B)

    def metrics(self) -> dict[str, float]:
        return self.usage.metrics()


_Chosen = tuple[list[Tensor], Tensor | None, Tensor | None]
"""Each row's virtual tokens, `[B, P, ...]` from each table; their mask, None if none is padding; and the auxiliary loss `[B]`."""


def _pick(bundle: Bundle, rows: Rows, members: Segments) -> _Chosen:
    """Joins the nearest prompts, P = k * the prompts' length, with the pull loss."""
    tables, most = _tables(bundle), max(member.config.top_k for member in bundle.members)
    nearest = _cosine(bundle, rows, rows.query_BH).topk(most, dim=1)
    far_Bk, mask_BkP = 1 - nearest.values, None
    k_B, length_B = bundle.sizes("top_k", members), bundle.sizes("num_virtual_tokens", members)
    share_Bk = torch.ones_like(far_Bk)
    if k_B is not None:
        share_Bk = first_of(k_B, most).to(far_Bk.dtype)
        far_Bk = far_Bk.where(share_Bk > 0, 0.0)
    if k_B is not None or length_B is not None:
        length = tables[0].shape[2]
        mask_BkP = (share_Bk > 0)[:, :, None].expand(-1, -1, length)
        if length_B is not None:
            mask_BkP = mask_BkP & first_of(length_B, length)[:, None]
    if bundle.training:
        taken_BM = far_Bk.new_zeros(len(rows), bundle["usage.taken_M"].shape[1])
        count(bundle["usage.taken_M"], taken_BM.scatter(1, nearest.indices, share_Bk), members)
    chosen = [table[rows.task_B[:, None], nearest.indices].flatten(1, 2) for table in tables]
    return chosen, None if mask_BkP is None else mask_BkP.flatten(1, 2), bundle.config.pull * far_Bk.sum(1)


def _mix(bundle: Bundle, rows: Rows, members: Segments) -> _Chosen:
    """Computes the weighted sum of the prompts."""
    asked_BH = rows.query_BH
    if "encoder.weight" in bundle:
        assert asked_BH is not None, "rows come with the query that the method asks for"
        asked_BH = members.joined(bundle.linear("encoder", members.apart(asked_BH)))
    weight_BM = (_cosine(bundle, rows, asked_BH) / bundle.config.temperature).softmax(1)
    if bundle.training:
        count(bundle["usage.taken_M"], weight_BM, members)
    mixed = [torch.einsum("bm,bm...->b...", weight_BM, table[rows.task_B]) for table in _tables(bundle)]
    length_B = bundle.sizes("num_virtual_tokens", members)
    return mixed, None if length_B is None else first_of(length_B, mixed[0].shape[1]), None


def _cosine(bundle: Bundle, rows: Rows, asked_BH: Tensor | None) -> Tensor:
    """The cosine of what each row asks with each key of its task, `[B, M]`; -inf where its pool has none."""
    assert asked_BH is not None, "rows come with the query that the method asks for"
    keys_XMH = _prompts_as_keys(bundle) if bundle.config.prompts_are_keys else bundle["keys"].flatten(0, 1)
    cosine_BM = nn.functional.cosine_similarity(asked_BH[:, None], keys_XMH[rows.task_B], dim=-1)
    size_B = bundle.sizes("pool_size", rows.members)
    if size_B is not None:
        cosine_BM = cosine_BM.masked_fill(~first_of(size_B, cosine_BM.shape[1]), -torch.inf)
    return cosine_BM


def _prompts_as_keys(bundle: Bundle) -> Tensor:
    """The mean of each prompt's tokens, `[K * tasks, M, H]`."""
    table_KTMPH = bundle["tables.0"]
    lengths = [member.config.num_virtual_tokens for member in bundle.members]
    if len(set(lengths)) == 1:
        return table_KTMPH.mean(3).flatten(0, 1)
    length_K = torch.tensor(lengths, device=table_KTMPH.device)
    return (table_KTMPH.sum(3) / length_K[:, None, None, None]).flatten(0, 1)


def _tables(bundle: Bundle) -> list[Tensor]:
    """The tables of all members, `[K * tasks, M, P, ...]`."""
    own = bundle.members[0].tables
    assert isinstance(own, nn.ParameterList)
    return [bundle[f"tables.{number}"].flatten(0, 1) for number in range(len(own))]


def spread(queries_RH: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Chooses queries that lie far apart, `[count, H]`: k-means++ seeding by cosine (Arthur and Vassilvitskii 2007).

    If there are fewer different queries than `count`, some are repeated.
    """
    unit_RH = nn.functional.normalize(queries_RH.double(), dim=1)
    chosen = [int(torch.randint(len(unit_RH), (), generator=generator))]
    while len(chosen) < count:
        distance_R = (1 - unit_RH @ unit_RH[chosen].T).amin(1).clamp(min=0)
        if distance_R.sum() <= 1e-9:
            distance_R = torch.ones_like(distance_R)
        chosen.append(int(torch.multinomial(distance_R, 1, generator=generator)))
    return queries_RH[chosen]
