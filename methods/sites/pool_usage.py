"""Measures how training uses a pool of prompts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from methods.bundles.bundle import Segments


class PoolUsage(nn.Module):
    """Counts how often rows take each prompt of a pool, in a buffer `taken_M`.

    Args:
        size: the number of prompts M in the pool.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("taken_M", torch.zeros(size), persistent=False)
        self.taken_M: Tensor

    def metrics(self) -> dict[str, float]:
        """The use of the pool since the last call; empty if there were no rows.

        `pool_used` is the share of prompts that were taken in more than 1 % of cases. `pool_evenness` is the entropy
        of the use, relative to an even use of all prompts (1: all are used equally).
        """
        taken_M = self.taken_M.clone()
        self.taken_M.zero_()  # in place: in a bundle it is a slice of all members' counts
        if not taken_M.sum() > 0:
            return {}
        share_M = taken_M / taken_M.sum()
        entropy = -(share_M * share_M.clamp(min=1e-12).log()).sum().item()
        return {
            "pool_used": (share_M > 0.01).float().mean().item(),
            "pool_evenness": entropy / math.log(len(share_M)) if len(share_M) > 1 else 1.0,
        }


def count(taken_KM: Tensor, share_BM: Tensor, segments: Segments) -> None:
    """Adds the shares in which rows took the prompts to the counts of their pools."""
    taken_KM.index_add_(0, segments.owner_X, share_BM.detach().to(taken_KM.dtype))
