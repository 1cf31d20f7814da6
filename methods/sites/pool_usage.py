"""How the rows of training use a pool of prompts."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class PoolUsage:
    """Shares in which rows take the prompts of a pool.

    Args:
        size: prompts M in the pool.
    """

    def __init__(self, size: int) -> None:
        self._taken_M = torch.zeros(size)

    def count(self, share_BM: Tensor) -> None:
        """Rows took these shares `[B, M]` of the prompts."""
        self._taken_M += share_BM.detach().float().sum(0).cpu()

    def metrics(self) -> dict[str, float]:
        """Of the rows since the last call: `pool_used`, the share of prompts that over 1 % of what is taken fell to, and
        `pool_evenness`, their entropy in that of equal shares (1: all alike). Nothing, where there were no rows."""
        taken_M, self._taken_M = self._taken_M, torch.zeros_like(self._taken_M)
        if not taken_M.sum() > 0:
            return {}
        share_M = taken_M / taken_M.sum()
        entropy = -(share_M * share_M.clamp(min=1e-12).log()).sum().item()
        return {
            "pool_used": (share_M > 0.01).float().mean().item(),
            "pool_evenness": entropy / math.log(len(share_M)) if len(share_M) > 1 else 1.0,
        }
