"""Finite search spaces: counts and lists their configurations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from methods.space import Choice, Int, Range, Scalar


def size(ranges: Mapping[str, Range]) -> int | None:
    """The number of combinations; None if a range is continuous. Several may be the same configuration."""
    counts = [_count(range_) for range_ in ranges.values()]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def points(ranges: Mapping[str, Range]) -> Iterator[dict[str, Scalar]]:
    """Yields every point of a finite space once, neighbours far apart, so that the first ones cover the whole space."""
    count = size(ranges)
    assert count is not None, "a continuous space cannot be listed"
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
