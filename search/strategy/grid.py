"""Spaces that have an end: how many configurations there are, each of them once, and what has no end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from methods.space import Choice, Float, Int, Range, Scalar
from search.config import spaces
from search.config.task_config import TaskConfig
from search.config.values import HyperparameterConfig
from search.errors import Problem


def size(ranges: Mapping[str, Range]) -> int | None:
    """How many combinations there are; None where a range is continuous. Some may be the same configuration."""
    counts = [_count(range_) for range_ in ranges.values()]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def points(ranges: Mapping[str, Range]) -> Iterator[dict[str, Scalar]]:
    """Every configuration of a finite space once, neighbours far apart: a part of them covers the whole."""
    count = size(ranges)
    assert count is not None, "a continuous space has no end"
    stride = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(stride, count) > 1:
        stride += 1
    for index in range(count):
        yield _point(ranges, index * stride % count)


def _point(ranges: Mapping[str, Range], index: int) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name, range_ in ranges.items():
        index, place = divmod(index, _count(range_) or 1)
        if isinstance(range_, Choice):
            found[name] = range_.choices[place]
        else:
            assert isinstance(range_, Int), "finite"
            found[name] = range_.low + place
    return found


def _count(range_: Range) -> int | None:
    if isinstance(range_, Choice):
        return len(range_.choices)
    return range_.high - range_.low + 1 if isinstance(range_, Int) else None


def problems(
    given: Mapping[str, Mapping[str, HyperparameterConfig]], tasks: Sequence[TaskConfig]
) -> list[Problem]:
    """What a grid cannot exhaust: ranges of the methods and of the tasks' weights that are continuous."""
    found = []
    for method, overrides in given.items():
        found += _continuous(f"methods.{method}.", spaces.space(method, overrides, tasks).ranges)
    for index, task in enumerate(tasks):
        name = f"{spaces.LOSS_WEIGHT}{task.name}"
        ranges = {n: range_ for n, range_ in spaces.loss_weights(tasks).ranges.items() if n == name}
        found += [Problem(f"tasks.{index}.loss_weight", problem.text) for problem in _continuous("", ranges)]
    return found


def _continuous(path: str, ranges: Mapping[str, Range]) -> list[Problem]:
    return [
        Problem(
            f"{path}{name}",
            f"is a range from {range_.low:g} to {range_.high:g}, which has no end for search.sampler grid; "
            f"write a list, such as [{range_.low:g}, {float(spaces.middle({name: range_})[name]):.3g}, {range_.high:g}]",
        )
        for name, range_ in ranges.items()
        if isinstance(range_, Float)
    ]
