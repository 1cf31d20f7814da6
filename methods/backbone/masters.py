"""Float32 masters of weights that are trained in a shorter number type.

A bfloat16 has eight bits of precision, so a step of less than about 1/500 of a weight leaves it where it was. The
optimizer therefore moves a master of each trained weight, in float32, and the model computes with the rounded master.

Micikevicius et al. (2018), "Mixed Precision Training", https://arxiv.org/abs/1710.03740, section 3.1.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import Tensor, nn


def widen(model: nn.Module) -> None:
    """Gives a model's trained weights at least float32."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(_wide(parameter))


def masters_of(model: nn.Module) -> nn.Module:
    """Copies a model, its trained weights in float32; the copy never runs.

    During the backward each gradient moves to its master, so the model keeps none. After the masters have changed,
    `round_into` must run before the model does.

    Returns:
        The copy, with the model's names, or the model itself if its trained weights have at least float32.
    """
    if all(used.dtype == _wide(used) for used in model.parameters() if used.requires_grad):
        return model
    masters = copy.deepcopy(model)
    widen(masters)
    for used, master in zip(model.parameters(), masters.parameters(), strict=True):
        if used.requires_grad:
            used.register_post_accumulate_grad_hook(functools.partial(_hand_over, master))  # type: ignore[no-untyped-call]
    return masters


@torch.no_grad()
def round_into(model: nn.Module, masters: nn.Module) -> None:
    """Sets a model's trained weights to its rounded masters."""
    if masters is model:
        return
    for used, master in zip(model.parameters(), masters.parameters(), strict=True):
        if used.requires_grad:
            used.copy_(master)


def _hand_over(master: nn.Parameter, used: Tensor) -> None:
    """Moves a weight's gradient to its master."""
    gradient, used.grad = used.grad, None
    assert gradient is not None, "the hook runs after a gradient was added"
    wide = gradient.to(device=master.device, dtype=master.dtype)
    master.grad = wide if master.grad is None else master.grad.add_(wide)


def _wide(parameter: nn.Parameter) -> torch.dtype:
    return torch.promote_types(parameter.dtype, torch.float32)
