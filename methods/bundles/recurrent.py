"""Bidirectional LSTMs of several methods, run as one.

PyTorch's `nn.LSTM` runs a single set of weights. Here the weights of K networks and their two directions are one batch of products,
so the operations grow with the tokens and not with the networks.

Hochreiter and Schmidhuber (1997), "Long Short-Term Memory", in the form of `nn.LSTM`:

    i, f, o = sigmoid(W x + U h + b),   g = tanh(W x + U h + b),   c = f c + i g,   h = o tanh(c).

Letters: K networks, R sequences of each, P tokens, I inputs, W units of a direction.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def bidirectional(
    values_KRPI: Tensor, weight: Callable[[str], Tensor], layers: int, length_K: Tensor | None = None
) -> Tensor:
    """Runs K networks on their own sequences, `[K, R, P, 2 * W]`.

    Args:
        values_KRPI: the sequences.
        weight: gives a weight of `nn.LSTM` by its name, of all networks, `[K, ...]`.
        layers: the number of layers.
        length_K: `[K]` int64, how many tokens the sequences of a network have, if they are padded at the end.
    """
    tokens = values_KRPI.shape[2]
    place_P = torch.arange(tokens, device=values_KRPI.device)
    # The place of each token in the reversed sequence: padding keeps its own, behind all tokens.
    back_KP = place_P.flip(0)[None]
    if length_K is not None:
        back_KP = torch.where(place_P < length_K[:, None], length_K[:, None] - 1 - place_P, place_P)
    for layer in range(layers):
        forth, back = (
            [weight(f"{part}_l{layer}{way}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            for way in ("", "_reverse")
        )
        both = [torch.cat(pair) for pair in zip(forth, back, strict=True)]  # [2 * K, ...]
        made = _run(torch.cat([values_KRPI, _taken(values_KRPI, back_KP)]), *both)
        ahead, reversed_ = made.chunk(2)
        values_KRPI = torch.cat([ahead, _taken(reversed_, back_KP)], dim=3)
    return values_KRPI


def _taken(values_KRPI: Tensor, place_KP: Tensor) -> Tensor:
    """Each network's tokens in another order."""
    return values_KRPI.gather(2, place_KP[:, None, :, None].expand_as(values_KRPI))


def _run(
    values_KRPI: Tensor, into_KGI: Tensor, again_KGW: Tensor, bias_KG: Tensor, more_KG: Tensor
) -> Tensor:
    """Runs one direction of one layer; G = 4 * W, the gates i, f, g and o."""
    gate_4 = values_KRPI.new_tensor([1.0, 1.0, 2.0, 1.0])
    # tanh(x) = 2 sigmoid(2 x) - 1, so that all four gates are one sigmoid.
    scale_G = gate_4.repeat_interleave(into_KGI.shape[1] // 4)
    given_KXG = torch.baddbmm((bias_KG + more_KG)[:, None], values_KRPI.flatten(1, 2), into_KGI.mT)
    given = (given_KXG * scale_G).view(*values_KRPI.shape[:3], -1).unbind(2)
    again_KWG = again_KGW.mT * scale_G
    hidden = cell = values_KRPI.new_zeros(*values_KRPI.shape[:2], again_KGW.shape[2])
    made = []
    for now_KRG in given:
        i, f, g, o = torch.baddbmm(now_KRG, hidden, again_KWG).sigmoid().chunk(4, dim=2)
        cell = torch.addcmul(f * cell, i, 2 * g - 1)
        hidden = o * cell.tanh()
        made.append(hidden)
    return torch.stack(made, dim=2)
