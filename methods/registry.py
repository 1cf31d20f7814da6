"""Finds methods by name, in this package and in other packages.

A module is a method if it defines `Config` and `Method`. Another package can add one as an entry point of the group
`promptfront.methods`, with the method's name and its module.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.config import MethodConfig

ENTRY_POINTS = "promptfront.methods"


class MethodError(ValueError):
    """A method cannot be found or read; the message says what to do."""

    exit_code = 2


class UnknownMethodError(MethodError):
    """There is no method of that name; the message lists those that exist."""


@dataclass(frozen=True)
class Description:
    """The description of a method, read without importing torch.

    Attributes:
        summary: the first line of its module's docstring.
        title: its usual name.
        baseline: whether it is only there for comparison.
        config: its class `Config`.
    """

    summary: str
    title: str
    baseline: bool
    config: type[MethodConfig]


@functools.cache
def names() -> tuple[str, ...]:
    """The sorted names of the methods; does not import them, since torch is slow to import."""
    return tuple(sorted(_modules()))


def get(name: str) -> ModuleType:
    """Imports a method's module, with its `Config` and `Method`.

    Raises:
        UnknownMethodError: there is no such method.
    """
    return importlib.import_module(_module(name))


@functools.cache
def describe(name: str) -> Description:
    """Reads a method of ours without importing what only training needs; imports one of another package.

    Raises:
        UnknownMethodError: there is no such method.
        MethodError: another package's cannot be imported, or is no method.
    """
    module = _module(name)
    if name in _offered():
        return _described(name, module)
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    values = _values(next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Method"))
    return Description(
        summary=(ast.get_docstring(tree) or "").partition("\n")[0],
        title=values["title"],
        baseline=values.get("baseline", False),
        config=_only_config(tree, module),
    )


def _described(name: str, module: str) -> Description:
    """What a method of another package says of itself."""
    from methods.config import MethodConfig

    of = f"method {name!r} of {distribution(name)} (module {module})"
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise MethodError(
            f"the {of} cannot be imported: {type(error).__name__}: {error}. Mend or uninstall the package"
        ) from error
    config: Any = getattr(found, "Config", None)
    method: Any = getattr(found, "Method", None)
    if not (isinstance(config, type) and issubclass(config, MethodConfig) and hasattr(method, "title")):
        raise MethodError(
            f"the {of} must have a Config (a methods.config.MethodConfig) and a Method with a title; see "
            "docs/methods.md"
        )
    summary = (found.__doc__ or "").strip().partition("\n")[0]
    return Description(summary, method.title, bool(getattr(method, "baseline", False)), config)


def name_of(module: str) -> str:
    """The name of the method that a module defines."""
    return next(name for name, other in _modules().items() if other == module)


def distribution(name: str) -> str | None:
    """The package that offers a method, as `name==version`; None if it is promptfront itself."""
    offered = _offered().get(name)
    if offered is None or offered.dist is None:
        return None
    return f"{offered.dist.name}=={offered.dist.version}"


@functools.cache
def _modules() -> dict[str, str]:
    """The module of each method."""
    folder = Path(__file__).parent
    files = (module.name for module in pkgutil.iter_modules([str(folder)]) if not module.ispkg)
    ours = {
        name: f"methods.{name}" for name in files if {"Config", "Method"} <= _classes(folder / f"{name}.py")
    }
    offered = {name: point.module for name, point in _offered().items()}
    if twice := ours.keys() & offered.keys():
        name = min(twice)
        raise MethodError(
            f"promptfront has a method {name!r} already, so rename the one that {offered[name]} offers"
        )
    return ours | offered


@functools.cache
def _offered() -> dict[str, EntryPoint]:
    """Methods of other packages, by name."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in found:
            raise MethodError(
                f"{found[point.name].module} and {point.module} both offer a method {point.name!r}: uninstall one"
            )
        found[point.name] = point
    return found


def _module(name: str) -> str:
    if name not in _modules():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UnknownMethodError(f"unknown method {name!r}{hint} The methods are: {', '.join(names())}")
    return _modules()[name]


def _classes(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def _values(class_: ast.ClassDef) -> dict[str, Any]:
    """The plain values that a class's body assigns to names."""
    return {
        target.id: node.value.value
        for node in class_.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _only_config(tree: ast.Module, module: str) -> type[MethodConfig]:
    """Makes the class `Config` by running only the statements of its module that it needs, and so without torch.

    A test holds that it equals the class of the module.
    """
    wanted, before = {"Config"}, set[str]()
    while wanted != before:
        before = set(wanted)
        for node in tree.body:
            if wanted & set(_bound(node)):
                wanted |= _read(node)
    kept = [_narrowed(node, wanted) for node in tree.body if wanted & set(_bound(node))]
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    program = ast.fix_missing_locations(ast.Module([future, *kept], []))
    made = ModuleType(f"{module}:Config")
    sys.modules[made.__name__] = made  # dataclasses look up their module there
    exec(compile(program, module, "exec"), made.__dict__)
    config: type[MethodConfig] = made.__dict__["Config"]
    return config


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module defines."""
    match node:
        case ast.Import() | ast.ImportFrom():
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        case ast.ClassDef() | ast.FunctionDef():
            yield node.name
        case ast.Assign():
            yield from (n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _narrowed(node: ast.stmt, wanted: set[str]) -> ast.stmt:
    """Reduces an import to the wanted names; returns other statements unchanged."""
    if isinstance(node, ast.ImportFrom):
        names = [alias for alias in node.names if (alias.asname or alias.name) in wanted]
        return ast.ImportFrom(node.module, names, node.level)
    return node


def _read(node: ast.stmt) -> set[str]:
    """The names that a statement uses, at once or later; annotations of functions are never evaluated."""
    skipped = {
        id(inner)
        for each in ast.walk(node)
        if isinstance(each, ast.arg | ast.FunctionDef)
        for part in (each.annotation if isinstance(each, ast.arg) else each.returns,)
        if part is not None
        for inner in ast.walk(part)
    }
    return {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load) and id(each) not in skipped
    }
