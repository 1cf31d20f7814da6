"""Brings a network's output to the scale of the vectors that it replaces, before training.

Virtual tokens, keys or values whose scale is orders of magnitude off take all attention or none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def match(last: nn.Linear, made_XO: Tensor, own_YO: Tensor) -> None:
    """Scales and shifts a layer so that its output has the mean and about the deviation of the model's own vectors.

    Args:
        last: the layer that made `made_XO`.
        made_XO: the layer's outputs; a single row has no deviation and is only moved to the mean.
        own_YO: the model's own vectors, at least two.
    """
    mean_O = made_XO.mean(0)
    spread = (made_XO - mean_O).std() if len(made_XO) > 1 else made_XO.std()
    scale_O = own_YO.std(0) / spread
    last.bias.copy_(own_YO.mean(0) + scale_O * (last.bias - mean_O))
    last.weight.mul_(scale_O[:, None])
