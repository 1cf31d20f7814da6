"""Writes a text after a given one, greedily token by token, with the injection and a cache of keys and values."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.backbone.layout import take
from methods.heads.heads import Head


@torch.no_grad()
def greedy(
    backbone: Backbone,
    head: Head,
    ids_BT: Tensor,
    mask_BT: Tensor,
    injection: Injection,
    *,
    end: int,
    max_new_tokens: int,
) -> list[list[int]]:
    """Writes a text after each given one, always with the most probable next token.

    Args:
        backbone: the backbone with its language model.
        head: the language model's head.
        ids_BT: `[B, T]` int64, the given texts, padded on the right.
        mask_BT: `[B, T]` bool, False at padding.
        injection: the injection into the same rows.
        end: the token that ends a text.
        max_new_tokens: the most new tokens for each row, `end` included.

    Returns:
        The new tokens of each row, without `end`.
    """
    written: list[list[int]] = [[] for _ in ids_BT]
    for rows in _batches(backbone, mask_BT):
        longest = int(mask_BT[rows].sum(1).max())
        writer = _Writer(backbone, head, ids_BT[rows, :longest], mask_BT[rows, :longest], injection.of(rows))
        open_rows = torch.ones(len(rows), dtype=torch.bool, device=ids_BT.device)
        for count in range(max_new_tokens):
            token_B = writer.token()
            open_rows &= token_B != end
            if not open_rows.any():
                break
            for row, token, still in zip(rows, token_B.tolist(), open_rows.tolist(), strict=True):
                if still:
                    written[row].append(token)
            if count + 1 < max_new_tokens:
                writer.append(token_B)
    return written


def _batches(backbone: Backbone, mask_BT: Tensor) -> list[list[int]]:
    """Groups rows that can be continued together.

    Padding lies between a text and what a decoder writes after it. So if the model counts positions itself, or has a
    sliding window, only rows of the same length can be together.
    """
    shape = backbone.shape
    if shape.architecture != "decoder" or (shape.shifts_text and not shape.sliding_window):
        return [list(range(len(mask_BT)))]
    by_length: dict[int, list[int]] = {}
    for row, length in enumerate(mask_BT.sum(1).tolist()):
        by_length.setdefault(length, []).append(row)
    return list(by_length.values())


class _Writer:
    """Texts in writing: their cache, and the last hidden state of each."""

    def __init__(
        self, backbone: Backbone, head: Head, ids_BT: Tensor, mask_BT: Tensor, injection: Injection
    ) -> None:
        self._backbone = backbone
        self._head = head
        config = backbone.config
        if backbone.shape.architecture == "encoder-decoder":
            self._cache: DynamicCache | EncoderDecoderCache = EncoderDecoderCache(
                DynamicCache(config=config), DynamicCache(config=config)
            )
            self._started = backbone.read(ids_BT, mask_BT, injection)
            self.append(torch.full_like(ids_BT[:, 0], backbone.first_written))
            return
        self._cache = DynamicCache(config=config)
        self._started = backbone.read(ids_BT, mask_BT, injection, cache=self._cache)
        last_B1 = mask_BT.sum(1, keepdim=True) - 1
        self._hidden_B1H = take(self._started.text(ids_BT.shape[1]), last_B1)

    def token(self) -> Tensor:
        """The most probable next token, `[B]`."""
        everywhere = torch.ones(self._hidden_B1H.shape[:2], dtype=torch.bool, device=self._hidden_B1H.device)
        logits_BV: Tensor = self._head(self._hidden_B1H, everywhere, everywhere)
        return logits_BV.argmax(1)

    def append(self, token_B: Tensor) -> None:
        """Appends a token to each text."""
        if self._backbone.shape.architecture == "decoder":
            mask_BS = self._started.mask_BS
            self._started = self._started._replace(
                mask_BS=torch.cat([mask_BS, torch.ones_like(mask_BS[:, :1])], 1)
            )
        self._hidden_B1H = self._backbone.write(token_B[:, None], self._started, self._cache)
