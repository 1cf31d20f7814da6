"""Hooks that read or replace the inputs of a model's layers during one forward; they are removed after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from methods.backbone.injection import Site

Visit = Callable[[Site, Tensor], Tensor]
Visited = contextlib.AbstractContextManager[None]


def blocks(model: nn.Module, attentions: Iterable[nn.Module]) -> list[nn.Module]:
    """The blocks (members of the model's lists of layers) that contain the attention modules, each once."""
    names = {module: name for name, module in model.named_modules()}
    found: dict[nn.Module, None] = {}
    for module in attentions:
        path = names[module]
        while path and not isinstance(model.get_submodule(path.rpartition(".")[0]), nn.ModuleList):
            path = path.rpartition(".")[0]
        found[model.get_submodule(path)] = None
    return list(found)


@contextlib.contextmanager
def visited(
    modules: Mapping[str, tuple[Sequence[nn.Module], Sequence[Site]]], visit: Visit
) -> Iterator[None]:
    """Passes an argument of each module to `visit` for the length of a `with`, and uses the result instead.

    Args:
        modules: by the argument's name, the modules and the sites of their calls in the order of the forward. A module
            that is called for several layers (as in ALBERT) is visited at each call.
        visit: takes (site, `[B, T, H]`) and returns the new argument, `[B, T, H]`.
    """
    hooks = []
    for argument, (layers, sites) in modules.items():
        hook = _hook(argument, iter(sites), visit)
        hooks += [layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def _hook(argument: str, calls: Iterator[Site], visit: Visit) -> Callable[..., tuple[Any, Any]]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        site = next(calls)
        if argument in kwargs:
            return args, {**kwargs, argument: visit(site, kwargs[argument])}
        return (visit(site, args[0]), *args[1:]), kwargs  # hidden states are the first argument

    return hook
