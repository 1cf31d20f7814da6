"""A method's search space with the changes of the study file.

`space` combines a method's own ranges (`Config.space()`) with those of the study file, and `make_config` turns values
into the method's configuration. `search/strategy/sampling.py` draws the values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import methods
from methods.config import MethodConfig
from methods.space import Allowed, Choice, Float, Int, Range, Scalar
from search import errors
from search.config import overriding
from search.config.task_config import TaskConfig
from search.config.values import HyperparameterConfig, RangeConfig
from search.errors import Problem

if TYPE_CHECKING:
    from methods.backbone.shape import Shape

_MOST_CORNERS = 256

LOSS_WEIGHT = "loss_weight."
_WEIGHTS = Float(0.1, 1.0, log=True)
"""The default range of a task's weight: no task has more than ten times the weight of another."""


@dataclass(frozen=True)
class Space:
    """A method's fixed and searched hyperparameters; all others keep their defaults.

    Attributes:
        fixed: the fixed values.
        ranges: the ranges of searched hyperparameters that can have an effect.
        unused: hyperparameters that have no effect on the study's tasks.
    """

    fixed: dict[str, Scalar]
    ranges: dict[str, Range]
    unused: frozenset[str] = frozenset()


def _unused(config: type[MethodConfig], tasks: Sequence[TaskConfig]) -> frozenset[str]:
    """Hyperparameters without effect on the tasks, such as those of heads when no head is trained."""
    if tasks and all(task.language_model for task in tasks):
        return frozenset(config.head_fields)
    return frozenset() if not tasks or any(task.has_readout for task in tasks) else frozenset({"readout"})


def space(
    method: str, overrides: Mapping[str, HyperparameterConfig], tasks: Sequence[TaskConfig] = ()
) -> Space:
    """Makes the method's search space with the study file's changes.

    Args:
        method: a name in `methods.names()`.
        overrides: the method's section of the study file: a value is fixed, a list is a choice, and a range replaces
            the method's own.
        tasks: the study's tasks.

    Raises:
        StudyFileError: overrides are wrong; the message lists all of them.
        UnknownMethodError: there is no such method.
    """
    found = problems(method, overrides, tasks)
    if found:
        raise errors.study_file_error(found, "the study's methods")
    config = methods.describe(method).config
    kinds = {name: field.metadata["allowed"] for name, field in config.fields().items()}
    fixed: dict[str, Scalar] = {}
    ranges: dict[str, Range] = dict(config.space())
    for name, override in overrides.items():
        ranges.pop(name, None)
        if isinstance(override, RangeConfig):
            ranges[name] = _range(kinds[name], override)
        elif isinstance(override, list) and len(override) > 1:
            ranges[name] = Choice(tuple(_typed(kinds[name], value) for value in override))
        else:
            fixed[name] = _typed(kinds[name], override[0] if isinstance(override, list) else override)
    unused = _unused(config, tasks)
    idle = {name for name in ranges if name in unused or _idle(config, overrides, name)}
    return Space(fixed, {name: range_ for name, range_ in ranges.items() if name not in idle}, unused)


def loss_weights(tasks: Sequence[TaskConfig]) -> Space:
    """The space of the tasks' loss weights before normalization, under the names `loss_weight.<task>`."""
    fixed: dict[str, Scalar] = {}
    ranges: dict[str, Range] = {}
    for task in tasks:
        name, given = f"{LOSS_WEIGHT}{task.name}", task.loss_weight
        if len(tasks) == 1:
            fixed[name] = 1.0
        elif given is None:
            ranges[name] = _WEIGHTS
        elif isinstance(given, RangeConfig):
            ranges[name] = Float(given.min, given.max, given.log)
        elif isinstance(given, list) and len(given) > 1:
            ranges[name] = Choice(tuple(float(weight) for weight in given))
        else:
            fixed[name] = float(given[0] if isinstance(given, list) else given)
    return Space(fixed, ranges)


def normalized(params: Mapping[str, Scalar], weights: Space) -> dict[str, float]:
    """Normalizes the loss weights: each task's share alpha; they add up to 1.

    Args:
        params: the sampled values.
        weights: the space of the loss weights.
    """
    raw = {**weights.fixed, **{name: params[name] for name in weights.ranges}}
    total = sum(float(weight) for weight in raw.values())
    return {name.removeprefix(LOSS_WEIGHT): float(weight) / total for name, weight in raw.items()}


def problems(
    method: str, overrides: Mapping[str, HyperparameterConfig], tasks: Sequence[TaskConfig] = ()
) -> list[Problem]:
    """Finds all problems of the study file's section `methods.<method>`; `tasks` are the study's tasks."""
    path = f"methods.{method}"
    if method not in methods.names():
        there_are = f"the methods are: {', '.join(methods.names())}"
        return [Problem(path, f"unknown method{errors.did_you_mean(method, methods.names())}; {there_are}")]
    config = methods.describe(method).config
    fields, unused = config.fields(), _unused(config, tasks)
    found = []
    for name, override in overrides.items():
        if name in fields:
            text = overriding.problem(fields[name].metadata["allowed"], override)
            if not text and override != fields[name].default:
                text = (
                    "has no effect on the study's tasks" if name in unused else _idle(config, overrides, name)
                )
        else:
            text = f"unknown hyperparameter of {method}{errors.did_you_mean(name, fields)}; allowed: {', '.join(fields)}"
        if text:
            found.append(Problem(f"{path}.{name}", text))
    return found


def _idle(config: type[MethodConfig], overrides: Mapping[str, HyperparameterConfig], name: str) -> str:
    """Why a hyperparameter can never have an effect; empty if it can."""
    for other, value in config.fields()[name].metadata["where"].items():
        tried = overrides.get(other, config.fields()[other].default)
        searched = config.space().get(other)
        if other not in overrides and isinstance(searched, Choice):
            tried = list(searched.choices)
        if value not in (tried if isinstance(tried, list) else [tried]):
            return f"has no effect unless {other} is {errors.show(value)}, which the study does not try"
    return ""


def default_weights(weights: Space) -> dict[str, Scalar]:
    """The loss weights of the first trial: equal, as far as the ranges allow."""
    return {name: _nearest(range_, 1.0) for name, range_ in weights.ranges.items()}


def default_params(method: str, space: Space) -> dict[str, Scalar]:
    """The parameters of the first trial: the published defaults.

    A default outside a range of the study file moves to the nearer end of the range; one that is not among the file's
    choices becomes the first of them.
    """
    default = methods.describe(method).config()
    return {name: _nearest(range_, getattr(default, name)) for name, range_ in space.ranges.items()}


def make_config(method: str, params: Mapping[str, Scalar], space: Space) -> MethodConfig:
    """Makes the method's configuration from searched parameters, fixed values and defaults."""
    mine = {name: value for name, value in params.items() if name in space.ranges}
    config: MethodConfig = methods.get(method).Config(**{**space.fixed, **mine})
    return config


def resolved(method: str, params: Mapping[str, Scalar], space: Space, weights: Space) -> dict[str, Any]:
    """The whole configuration of a trial: `config`, without hyperparameters that have no effect, and `loss_weights`."""
    config = make_config(method, params, space).to_dict()
    return {
        "config": {name: value for name, value in config.items() if name not in space.unused},
        "loss_weights": normalized(params, weights),
    }


def corner_problems(method: str, space: Space, shape: Shape, max_length: int) -> list[Problem]:
    """Finds what cannot run at the ends of the method's ranges; each problem comes once."""
    found: dict[str, Problem] = {}
    path = f"methods.{method}"
    fields = methods.describe(method).config.fields()
    for params in corners(space.ranges):
        for text in make_config(method, params, space).problems(shape, max_length):
            name, _, rest = text.partition(" ")
            problem = Problem(f"{path}.{name}", rest) if name in fields else Problem(path, text)
            found.setdefault(problem.path, problem)
    return list(found.values())


def corners(ranges: Mapping[str, Range]) -> Iterator[dict[str, Scalar]]:
    """Yields all combinations of the ranges' ends; if there are too many, only all lowest and all highest."""
    ends = [
        range_.choices if isinstance(range_, Choice) else (range_.low, range_.high)
        for range_ in ranges.values()
    ]
    if math.prod(map(len, ends)) > _MOST_CORNERS:
        combinations: Iterable[tuple[Scalar, ...]] = zip(*((v[0], v[-1]) for v in ends), strict=True)
    else:
        combinations = itertools.product(*ends)
    for values in combinations:
        yield dict(zip(ranges, values, strict=True))


def middle(ranges: Mapping[str, Range]) -> dict[str, Scalar]:
    """The middle of each range, on its own scale."""
    return {name: _middle(range_) for name, range_ in ranges.items()}


def _middle(range_: Range) -> Scalar:
    if isinstance(range_, Choice):
        return range_.choices[len(range_.choices) // 2]
    middle = math.sqrt(range_.low * range_.high) if range_.log else (range_.low + range_.high) / 2
    return round(middle) if isinstance(range_, Int) else middle


def _range(allowed: Allowed, override: RangeConfig) -> Range:
    if isinstance(allowed, Int):
        return Int(int(override.min), int(override.max), override.log)
    return Float(override.min, override.max, override.log)


def _typed(allowed: Allowed, value: Scalar) -> Scalar:
    """Turns a whole number given for a float into a float: Optuna and JSON distinguish 1 from 1.0."""
    return float(value) if isinstance(allowed, Float) else value


def _nearest(range_: Range, default: Scalar) -> Scalar:
    if isinstance(range_, Choice):
        return default if default in range_.choices else range_.choices[0]
    assert isinstance(default, int | float), "a range's default is a number"
    return min(max(default, range_.low), range_.high)


def grid_problems(
    given: Mapping[str, Mapping[str, HyperparameterConfig]], tasks: Sequence[TaskConfig]
) -> list[Problem]:
    """Finds continuous ranges, of methods and of loss weights, which a grid cannot list."""
    found = []
    for method, overrides in given.items():
        found += _continuous(f"methods.{method}.", space(method, overrides, tasks).ranges)
    for index, task in enumerate(tasks):
        name = f"{LOSS_WEIGHT}{task.name}"
        ranges = {n: range_ for n, range_ in loss_weights(tasks).ranges.items() if n == name}
        found += [Problem(f"tasks.{index}.loss_weight", problem.text) for problem in _continuous("", ranges)]
    return found


def _continuous(path: str, ranges: Mapping[str, Range]) -> list[Problem]:
    return [
        Problem(
            f"{path}{name}",
            f"is a range from {range_.low:g} to {range_.high:g}, which is continuous; search.sampler: grid needs a "
            f"list, such as [{range_.low:g}, {float(middle({name: range_})[name]):.3g}, {range_.high:g}]",
        )
        for name, range_ in ranges.items()
        if isinstance(range_, Float)
    ]
