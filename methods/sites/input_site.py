"""The input site: virtual tokens before, in, after or around the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.backbone.injection import Injection, Prefix, Prompt, full_mask
from methods.method import Rows

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone


def prompt_injection(prompt_KPE: Tensor, rows: Rows, placement: str, backbone: Backbone) -> Injection:
    """Makes the injection from a table of prompts, one per task.

    If they stand in front of the text in a model with `prompts_are_prefixes`, the prompts run only once and all rows
    share their keys and values, which is equivalent and faster.

    Args:
        prompt_KPE: `[tasks, P, E]` float, the prompts.
        rows: the rows of the batch.
        placement: one of `PLACEMENTS`.
        backbone: the backbone that runs the rows.
    """
    length = prompt_KPE.shape[1]
    if placement == "before" and backbone.shape.prompts_are_prefixes:
        mask_BP = full_mask(len(rows), length, rows.task_B.device)
        cached = backbone.keys_and_values(prompt_KPE)
        return Injection(
            rows=len(rows),
            prefixes={
                site: Prefix(k[rows.task_B], v[rows.task_B], mask_BP) for site, (k, v) in cached.items()
            },
            offset_B=torch.full_like(rows.task_B, length),
        )
    return Injection(rows=len(rows), prompt=placed(prompt_KPE[rows.task_B], placement))


def placed(embeddings_BPE: Tensor, placement: str) -> Prompt:
    """Places each row's prompt at one of `PLACEMENTS`; "around" puts the larger half in front."""
    rows, length, _ = embeddings_BPE.shape
    mask_BP = full_mask(rows, length, embeddings_BPE.device)
    if placement == "before":
        return Prompt(embeddings_BPE, mask_BP)
    halves_P = torch.full((length,), {"middle": 1, "after": 2, "around": 0}[placement], device=mask_BP.device)
    if placement == "around":
        halves_P[(length + 1) // 2 :] = 2
    return Prompt(embeddings_BPE, mask_BP, halves_P.expand(rows, -1))
