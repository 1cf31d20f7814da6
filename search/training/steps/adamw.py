"""AdamW and the clipping of gradients for several trials at once: each is a row of a matrix.

Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101, algorithm 2, in the form of
`torch.optim.AdamW`. In a trial's row, some columns may rest in a step (a head whose task has no row in the batch), as
`torch.optim.AdamW` leaves out parameters without a gradient.

Letters: K trials, N columns, G groups of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BETAS, EPS = (0.9, 0.999), 1e-8
"""The defaults of `torch.optim.AdamW`."""


@dataclass(frozen=True)
class Moments:
    """What AdamW remembers.

    Attributes:
        first_KN, second_KN: the running means of the gradients and of their squares.
        steps_KG: float32, on the CPU, the steps that each group of columns has taken.
    """

    first_KN: Tensor
    second_KN: Tensor
    steps_KG: Tensor


@torch.no_grad()
def clip(gradient_KN: Tensor, norm_K: Tensor, most_K: Sequence[float]) -> None:
    """Scales each row down to a norm of `most_K`, as `torch.nn.utils.clip_grad_norm_` does."""
    limit_K = norm_K.new_tensor(most_K)
    gradient_KN.mul_((limit_K / (norm_K + 1e-6)).clamp(max=1.0)[:, None])


@torch.no_grad()
def step(
    matrix_KN: Tensor,
    gradient_KN: Tensor,
    moments: Moments,
    groups: Sequence[slice],
    rates_KG: Sequence[Sequence[float]],
    decay_K: Sequence[float],
    moving_KG: Sequence[Sequence[bool]],
) -> None:
    """Takes a step.

    Args:
        matrix_KN: the parameters, which are changed.
        gradient_KN: their gradients, 0 where nothing moves.
        moments: changed too.
        groups: the columns of each group.
        rates_KG: the learning rates.
        decay_K: the weight decays.
        moving_KG: which groups take the step.
    """
    moving = torch.tensor(moving_KG, dtype=torch.float64)
    moments.steps_KG.add_(moving)
    steps = moments.steps_KG.double().clamp(min=1)
    rates = torch.tensor(rates_KG, dtype=torch.float64) * moving
    shrink = 1 - rates * torch.tensor(decay_K, dtype=torch.float64)[:, None]
    size = rates / (1 - BETAS[0] ** steps)
    root = (1 - BETAS[1] ** steps).sqrt()
    first, second = (1 - BETAS[0]) * moving, (1 - BETAS[1]) * moving
    numbers = torch.stack([shrink, size, root, first, second]).to(matrix_KN, non_blocking=True)
    for group, columns in enumerate(groups):
        shrink_K1, size_K1, root_K1, first_K1, second_K1 = numbers[:, :, group, None]
        weight, gradient = matrix_KN[:, columns], gradient_KN[:, columns]
        mean, square = moments.first_KN[:, columns], moments.second_KN[:, columns]
        mean.lerp_(gradient, first_K1)
        square.lerp_(gradient * gradient, second_K1)
        change = mean / (square.sqrt().div_(root_K1).add_(EPS))
        weight.mul_(shrink_K1).sub_(change.mul_(size_K1))
