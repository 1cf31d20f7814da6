"""What a model's layers make keys and values of, read or replaced for the length of one forward: hooks, removed after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from methods.backbone.injection import Site

Visit = Callable[[Site, Tensor], Tensor]
Visited = contextlib.AbstractContextManager[None]


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
def visited(
    modules: Mapping[str, tuple[Sequence[nn.Module], Sequence[Site]]], visit: Visit
) -> Iterator[None]:
    """Shows an argument of each module to `visit`, with the site that the call is for, and hands on what it answers.

    Args:
        modules: by the argument's name, the modules and the sites of their calls, in the order of the forward; a module
            that is called for several layers (ALBERT's) is visited at each.
        visit: (site, `[B, T, H]`) to what the module shall get, `[B, T, H]`.
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
        return (visit(site, args[0]), *args[1:]), kwargs  # hidden states come first

    return hook
