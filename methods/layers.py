"""The inputs of a model's layers, read or replaced for the length of one forward: hooks, removed after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn


def blocks(model: nn.Module, attentions: Iterable[nn.Module]) -> list[nn.Module]:
    """The blocks that hold the attention modules, once each: the members of the model's lists of layers."""
    names = {module: name for name, module in model.named_modules()}
    found: dict[nn.Module, None] = {}
    for module in attentions:
        path = names[module]
        while path and not isinstance(model.get_submodule(path.rpartition(".")[0]), nn.ModuleList):
            path = path.rpartition(".")[0]
        found[model.get_submodule(path)] = None
    return list(found)


@contextlib.contextmanager
def visited(layers: Iterable[nn.Module], visit: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Shows each block's input to `visit`, with the number of the call, and hands the block what it answers.

    Args:
        layers: the blocks; one that is called for several layers (ALBERT's) is visited at each.
        visit: (number of the call from 0, `[B, T, H]`) to the input `[B, T, H]` that the block shall have.
    """
    calls = 0

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        nonlocal calls
        calls += 1
        if args:
            return (visit(calls - 1, args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": visit(calls - 1, kwargs["hidden_states"])}

    hooks = [layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()
