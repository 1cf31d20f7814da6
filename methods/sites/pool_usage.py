"""Measures how training uses a pool of prompts."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class PoolUsage:
    """Counts how often rows take each prompt of a pool.

    Args:
        size: the number of prompts M in the pool.
    """

    def __init__(self, size: int) -> None:
        self._taken_M = torch.zeros(size)

    def count(self, share_BM: Tensor) -> None:
        """Adds the shares `[B, M]` in which rows took the prompts."""
        self._taken_M += share_BM.detach().float().sum(0).cpu()

    def metrics(self) -> dict[str, float]:
        """The use of the pool since the last call; empty if there were no rows.

        `pool_used` is the share of prompts that were taken in more than 1 % of cases. `pool_evenness` is the entropy
        of the use, relative to an even use of all prompts (1: all are used equally).
        """
        taken_M, self._taken_M = self._taken_M, torch.zeros_like(self._taken_M)
        if not taken_M.sum() > 0:
            return {}
        share_M = taken_M / taken_M.sum()
        entropy = -(share_M * share_M.clamp(min=1e-12).log()).sum().item()
        return {
            "pool_used": (share_M > 0.01).float().mean().item(),
            "pool_evenness": entropy / math.log(len(share_M)) if len(share_M) > 1 else 1.0,
        }
