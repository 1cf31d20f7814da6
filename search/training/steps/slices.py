"""Tensors of several modules as slices of one matrix: a row for each module, columns for each tensor.

Tensors of one name may have different sizes; each gets the columns of the largest and is padded with zeros at the end of each
axis. The modules keep their tensors, which become views into the matrix.

Letters: K modules, N columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Slices:
    """The columns of each name.

    Args:
        named: the tensors of each module, with the same names and numbers of axes.
    """

    def __init__(self, named: Sequence[Mapping[str, Tensor]]) -> None:
        self._own = [{name: tensor.shape for name, tensor in each.items()} for each in named]
        self._shapes = {
            name: torch.Size(map(max, zip(*(each[name] for each in self._own), strict=True)))
            for name in self._own[0]
        }
        self._columns = [math.prod(shape) for shape in self._shapes.values()]

    @property
    def width(self) -> int:
        """The number of columns N."""
        return sum(self._columns)

    def columns(self, names: Sequence[str]) -> slice:
        """The columns of names that follow each other."""
        order = list(self._shapes)
        first = order.index(names[0])
        assert order[first : first + len(names)] == list(names), f"{names} are not neighbours in {order}"
        start = sum(self._columns[:first])
        return slice(start, start + sum(self._columns[first : first + len(names)]))

    def all(self, matrix_KN: Tensor) -> dict[str, Tensor]:
        """The tensors of all modules by name, `[K, ...]`."""
        parts = torch.split(matrix_KN, self._columns, dim=1)
        return {
            name: part.view(len(part), *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def own(self, matrix_KN: Tensor) -> list[dict[str, Tensor]]:
        """Each module's tensors by name, without padding."""
        whole = self.all(matrix_KN)
        return [
            {name: whole[name][number][tuple(map(slice, shape))] for name, shape in each.items()}
            for number, each in enumerate(self._own)
        ]

    def padding(self, device: torch.device) -> Tensor | None:
        """Which places of a matrix are padding, `[K, N]` bool; None if none is."""
        if all(shapes == self._shapes for shapes in self._own):
            return None
        padding_KN = torch.ones(len(self._own), self.width, dtype=torch.bool, device=device)
        for own in self.own(padding_KN):
            for tensor in own.values():
                tensor.fill_(False)
        return padding_KN
