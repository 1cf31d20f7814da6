"""Hooks that read or replace the inputs of a model's layers, or add to their outputs, during one forward; they are removed after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear

from methods.backbone.injection import Site, Update

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


@contextlib.contextmanager
def updated(model: nn.Module, updates: Mapping[str, Update]) -> Iterator[None]:
    """Adds low-rank updates to what linear layers of the model make, for the length of a `with`."""
    hooks = [
        model.get_submodule(name).register_forward_hook(_adds(name, update))
        for name, update in updates.items()
    ]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def _adds(name: str, update: Update) -> Callable[..., Tensor]:
    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return (output + _added(name, update, args[0])).to(output.dtype)

    return hook


def _added(name: str, update: Update, given: Tensor) -> Tensor:
    """B A x for each row's owner; computed, as in peft, in the number type of A."""
    given = given.to(update.down_KRI.dtype)
    if len(update.down_KRI) == 1:
        return linear(linear(given, update.down_KRI[0]), update.up_KOR[0])
    rows = len(update.owner_B)
    if len(given) % rows:  # tokens that were sorted by expert, say
        raise ValueError(
            f"the layer {name} sees {len(given)} tokens of {rows} rows, so its update cannot tell the rows apart; train with "
            "target: attention"
        )
    given_BTI = given.reshape(rows, -1, given.shape[-1])
    low_BTR = given_BTI @ update.down_KRI[update.owner_B].mT
    made_BTO = low_BTR @ update.up_KOR[update.owner_B].mT
    return made_BTO.view(*given.shape[:-1], -1)
