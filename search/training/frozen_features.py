"""What the bare model makes of the rows of a split; it does not change during a study, so a worker process computes it once.

`query_features` is the query of methods that look at their input. `read_features` is what a linear head reads where a method puts
nothing into the model: a trial of such a method then needs no forward of the model at all.

Letters: R rows, H hidden width, X places that are read.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.heads.heads import LinearHead
from search.tasks import Split
from search.training.batches import by_length, collate, without_targets
from search.training.out_of_memory import with_fewer

_BATCH_SIZE = 64
_MOST_BYTES = 2**30
"""Larger features lie in a file, of which the system keeps in memory what is used."""

_Features = TypeVar("_Features", Tensor, "ReadFeatures")

_known: WeakKeyDictionary[Split, WeakKeyDictionary[Backbone, dict[str, Any]]] = WeakKeyDictionary()


class ReadFeatures(NamedTuple):
    """What a head reads of a split's rows.

    Attributes:
        values_XH: float32 or wider, on the CPU, row after row.
        ends: where each row ends.
    """

    values_XH: Tensor
    ends: list[int]

    def of(self, rows: Sequence[int]) -> Tensor:
        """What it reads of some of the rows, one after the other."""
        spans = [range(self.ends[row - 1] if row else 0, self.ends[row]) for row in rows]
        return self.values_XH[torch.tensor(list(itertools.chain(*spans)))]


def query_features(split: Split, backbone: Backbone, readout: str) -> Tensor:
    """The features of a split's rows (`Backbone.features`), `[R, H]` float32, on the CPU."""
    return _once(split, backbone, f"query, {readout}", lambda size: _queries(split, backbone, readout, size))


def read_features(split: Split, backbone: Backbone, head: LinearHead) -> ReadFeatures:
    """What a head reads of a split's rows; rows are computed in batches that depend on nothing but the split."""
    return _once(split, backbone, f"read, {head.reads}", lambda size: _read(split, backbone, head, size))


def forget() -> None:
    """Forgets all features, so that the time to compute them can be measured."""
    _known.clear()


def _once(split: Split, backbone: Backbone, name: str, compute: Callable[[int], _Features]) -> _Features:
    """What `compute` makes, which takes the rows that run at once."""
    known = _known.setdefault(split, WeakKeyDictionary()).setdefault(backbone, {})
    if name not in known:
        known[name] = with_fewer(_BATCH_SIZE, compute)
    found: _Features = known[name]
    return found


def _queries(split: Split, backbone: Backbone, readout: str, batch_size: int) -> Tensor:
    features_RH = _room(len(split), backbone)
    for numbers in by_length(split.rows, batch_size):
        texts = collate(without_targets([split.rows[number] for number in numbers]), backbone.device)
        features_RH[numbers] = backbone.features(texts.ids_BT, texts.mask_BT, readout, texts.types_BT).cpu()
    return features_RH


@torch.no_grad()
def _read(split: Split, backbone: Backbone, head: LinearHead, batch_size: int) -> ReadFeatures:
    ends = list(itertools.accumulate(row.places for row in split.rows))
    found = ReadFeatures(_room(ends[-1] if ends else 0, backbone), ends)
    for numbers in by_length(split.rows, batch_size):
        rows = [split.rows[number] for number in numbers]
        texts = collate(rows, backbone.device)
        nothing = Injection(rows=len(rows))
        hidden_BTH = backbone.forward(texts.ids_BT, texts.mask_BT, nothing, texts.types_BT, texts.written_BU)
        parts = torch.split(head.read(hidden_BTH, texts.mask_BT, texts.read_BT), [row.places for row in rows])
        for number, part_XH in zip(numbers, parts, strict=True):
            found.values_XH[ends[number] - len(part_XH) : ends[number]] = part_XH.cpu()
    return found


def _room(places: int, backbone: Backbone) -> Tensor:
    """An empty `[places, H]`: in memory, or in a file that ends with it."""
    dtype = torch.promote_types(backbone.embeddings.dtype, torch.float32)
    shape = (places, backbone.shape.hidden_size)
    if math.prod(shape) * dtype.itemsize <= _MOST_BYTES:
        return torch.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile() as file:
        name = str(dtype).removeprefix("torch.")
        return torch.from_numpy(np.memmap(file, dtype=name, mode="w+", shape=shape))
