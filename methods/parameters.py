"""Counts, saves and loads the parameters of a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from methods.backbone.backbone import Backbone
    from methods.method import Method


def trained_parameters(module: nn.Module) -> int:
    """The number of trained scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def deployed_parameters(method: Method, backbone: Backbone) -> int:
    """The number of scalars that a deployed model needs besides backbone and heads."""
    return trained_parameters(method.deployed(backbone))


def deployed_bytes(method: Method, backbone: Backbone) -> int:
    """The bytes of the deployed tensors in a file, without its header and the heads."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state(method.deployed(backbone)).values())


def state(method: nn.Module) -> dict[str, Tensor]:
    """The trained parameters by name, as a checkpoint or an exported file holds them."""
    return {name: p.detach() for name, p in method.named_parameters() if p.requires_grad}


def load_state(method: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Loads the result of `state` into a method of the same configuration.

    Raises:
        ValueError: names or shapes do not fit the method.
    """
    check_state(method, tensors)
    with torch.no_grad():
        for name, parameter in state(method).items():
            parameter.copy_(tensors[name])


def check_state(method: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Checks that a method has parameters of these names and shapes.

    Raises:
        ValueError: it does not.
    """
    mine = state(method)
    if mine.keys() != tensors.keys():
        odd = sorted(mine.keys() ^ tensors.keys())
        raise ValueError(
            f"expected the tensors {', '.join(mine) or 'none'}; missing or unknown: {', '.join(odd)}"
        )
    for name, parameter in mine.items():
        if parameter.shape != tensors[name].shape:
            raise ValueError(f"{name} must be {tuple(parameter.shape)}, not {tuple(tensors[name].shape)}")
