"""Computes the bare model's features of a split's rows, the query of methods that look at their input.

They do not change during a study, so a worker process computes them once for each split.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from methods.backbone.backbone import Backbone
from search.tasks import Split
from search.training.batches import by_length, collate, without_targets

_BATCH_SIZE = 64

_known: WeakKeyDictionary[Split, WeakKeyDictionary[Backbone, dict[str, Tensor]]] = WeakKeyDictionary()


def query_features(split: Split, backbone: Backbone, readout: str) -> Tensor:
    """The features of a split's rows (`Backbone.features`), `[rows, H]` float32, on the CPU."""
    by_readout = _known.setdefault(split, WeakKeyDictionary()).setdefault(backbone, {})
    if readout not in by_readout:
        by_readout[readout] = _compute(split, backbone, readout)
    return by_readout[readout]


def _compute(split: Split, backbone: Backbone, readout: str) -> Tensor:
    dtype = torch.promote_types(backbone.embeddings.dtype, torch.float32)
    features_RH = torch.empty(len(split), backbone.shape.hidden_size, dtype=dtype)
    for numbers in by_length(split.rows, _BATCH_SIZE):
        texts = collate(without_targets([split.rows[number] for number in numbers]), backbone.device)
        features_RH[numbers] = backbone.features(texts.ids_BT, texts.mask_BT, readout, texts.types_BT).cpu()
    return features_RH
