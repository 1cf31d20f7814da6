"""A network's output brought to the scale of what it stands in for, before training.

Virtual tokens, keys or values that are orders of magnitude out of scale take all attention or none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def match(last: nn.Linear, made_XO: Tensor, own_YO: Tensor) -> None:
    """Scales and shifts the last layer so that its output has the mean, and about the deviation, of the model's own.

    Args:
        last: the layer that made `made_XO`.
        made_XO: its outputs; a single row says nothing of its deviation, and is moved to the mean.
        own_YO: the model's own vectors, two or more.
    """
    mean_O = made_XO.mean(0)
    spread = (made_XO - mean_O).std() if len(made_XO) > 1 else made_XO.std()
    scale_O = own_YO.std(0) / spread
    last.bias.copy_(own_YO.mean(0) + scale_O * (last.bias - mean_O))
    last.weight.mul_(scale_O[:, None])
