"""The input site: virtual tokens before, in, after or around the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.backbone.injection import Injection, Prefix, Prompt, full_mask
from methods.bundles.bundle import first_of
from methods.method import Rows

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone


def prompt_injection(
    prompt_XPE: Tensor, rows: Rows, placement: str, backbone: Backbone, length_B: Tensor | None = None
) -> Injection:
    """Makes the injection from a table of prompts, one per task.

    If they stand in front of the text in a model with `prompts_are_prefixes`, the prompts run only once and all rows
    share their keys and values, which is equivalent and faster.

    Args:
        prompt_XPE: `[X, P, E]` float, the prompts; `rows.task_B` says which of them a row gets.
        rows: the rows of the batch.
        placement: one of `PLACEMENTS`.
        backbone: the backbone that runs the rows.
        length_B: `[B]` int64, how many of the P virtual tokens a row gets; None: all of them.
    """
    length = prompt_XPE.shape[1]
    device = rows.task_B.device
    mask_BP = full_mask(len(rows), length, device) if length_B is None else first_of(length_B, length)
    if placement == "before" and backbone.shape.prompts_are_prefixes:
        cached = backbone.keys_and_values(prompt_XPE)
        return Injection(
            rows=len(rows),
            prefixes={
                site: Prefix(k[rows.task_B], v[rows.task_B], mask_BP) for site, (k, v) in cached.items()
            },
            offset_B=torch.full_like(rows.task_B, length) if length_B is None else length_B,
        )
    masked_BP = None if length_B is None else mask_BP
    return Injection(rows=len(rows), prompt=placed(prompt_XPE[rows.task_B], placement, masked_BP))


def placed(embeddings_BPE: Tensor, placement: str, mask_BP: Tensor | None = None) -> Prompt:
    """Places each row's prompt at one of `PLACEMENTS`; "around" puts the larger half in front.

    Args:
        embeddings_BPE: `[B, P, E]` float.
        placement: one of `PLACEMENTS`.
        mask_BP: `[B, P]` bool, False at padding; None: there is none.
    """
    rows, length, _ = embeddings_BPE.shape
    if mask_BP is None and placement == "before":
        return Prompt(embeddings_BPE, full_mask(rows, length, embeddings_BPE.device))
    if mask_BP is None:
        mask_BP = full_mask(rows, length, embeddings_BPE.device)
    if placement == "around":
        rank_BP, count_B1 = mask_BP.cumsum(1), mask_BP.sum(1, keepdim=True)
        halves_BP = torch.where(rank_BP > (count_B1 + 1) // 2, 2, 0)
    else:
        where = {"before": 0, "middle": 1, "after": 2}[placement]
        halves_BP = torch.full((rows, length), where, device=mask_BP.device)
    return Prompt(embeddings_BPE, mask_BP, halves_BP)
