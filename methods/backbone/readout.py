"""The hidden state that a task's head reads, always at text positions.

Virtual tokens were cut off before (`Backbone.forward`). So "first" is the text's own first token, [CLS] in BERT, and
"last" is its last token before any padding, on whichever side the padding is.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sequence_features(hidden_BTH: Tensor, mask_BT: Tensor, readout: str) -> Tensor:
    """Computes the vector of each row that a head reads.

    Args:
        hidden_BTH: `[B, T, H]`, hidden states of the text.
        mask_BT: `[B, T]` bool, False at padding; at least one token per row.
        readout: "first", "last" or "mean" (over the text's tokens).

    Returns:
        `[B, H]`, at least float32, since heads and losses are computed in full precision.

    Raises:
        ValueError: the readout is unknown.
    """
    hidden_BTH = hidden_BTH.to(torch.promote_types(hidden_BTH.dtype, torch.float32))
    if readout == "mean":
        weights = mask_BT.to(hidden_BTH.dtype)[:, :, None]
        return (hidden_BTH * weights).sum(1) / weights.sum(1)
    if readout == "first":
        index = mask_BT.long().argmax(1)
    elif readout == "last":
        index = mask_BT.shape[1] - 1 - mask_BT.long().flip(1).argmax(1)
    else:
        raise ValueError(f"readout must be first, last or mean, not {readout!r}")
    return hidden_BTH[torch.arange(len(hidden_BTH), device=hidden_BTH.device), index]
