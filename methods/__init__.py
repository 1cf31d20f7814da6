"""The methods: one file each, found by its name. Needs torch and transformers, nothing else.

`names()` lists them, `get(name)` imports one, `load(folder)` gives back one that was trained and exported. A module of this package is a method if it defines `Config` and
`Method`; a new method is a new file.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from methods.saved.folder import Predictor


class UnknownMethodError(ValueError):
    """There is no method of that name; the message lists those that exist."""


@functools.cache
def names() -> tuple[str, ...]:
    """Names of the methods, sorted, without importing them (torch is slow to import)."""
    folder = Path(__file__).parent
    modules = (module.name for module in pkgutil.iter_modules([str(folder)]) if not module.ispkg)
    return tuple(sorted(name for name in modules if {"Config", "Method"} <= _classes(folder / f"{name}.py")))


def get(name: str) -> ModuleType:
    """The method's module, with its `Config` and `Method`.

    Raises:
        UnknownMethodError: no such method.
    """
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownMethodError(f"unknown method {name!r}{hint} There are: {', '.join(names())}")
    return importlib.import_module(f"methods.{name}")


def load(folder: Path | str, *, model: str | None = None, device: str = "cpu") -> Predictor:
    """What `promptfront export` wrote, ready to predict; see `methods.saved.load`."""
    from methods.saved import folder as saved

    return saved.load(folder, model=model, device=device)


def _classes(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
