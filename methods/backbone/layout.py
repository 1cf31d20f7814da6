"""The order of virtual tokens and text in the sequence that the model sees.

Letters: B rows, P virtual tokens, T text tokens, S = P + T, E width of the input embeddings.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.backbone.injection import Injection, Prompt


class Started(NamedTuple):
    """Texts that a backbone has read.

    Attributes:
        injection: the injection into the texts.
        states_BSH: the last hidden states, including those of virtual tokens.
        mask_BS: bool, False at padding.
        text_BT: int64, the positions of the text's tokens; None if they come last.
    """

    injection: Injection
    states_BSH: Tensor
    mask_BS: Tensor
    text_BT: Tensor | None

    def text(self, length: int) -> Tensor:
        """The states of the text's `length` tokens, `[B, T, H]`."""
        states = self.states_BSH
        return states[:, -length:] if self.text_BT is None else take(states, self.text_BT)


class Layout(NamedTuple):
    """A batch as the model sees it.

    Attributes:
        embeddings_BSE: the embeddings of virtual tokens and text.
        mask_BS: bool, False at the padding of either.
        text_BT: int64, the position of each text token; None if they follow the P virtual tokens.
    """

    embeddings_BSE: Tensor
    mask_BS: Tensor
    text_BT: Tensor | None


def arrange(prompt: Prompt, embeddings_BTE: Tensor, mask_BT: Tensor) -> Layout:
    """Puts each virtual token before, into or behind its row's text.

    A prompt behind the text comes before the text's padding, and the prompt's padding comes last. So padding never
    separates tokens of a row, and a row that is padded on the right begins at position 0. This matters because sliding
    windows and relative positions count what lies between, and some models number positions from the front.
    """
    together_BSE = torch.cat([prompt.embeddings_BPE.to(embeddings_BTE.dtype), embeddings_BTE], dim=1)
    mask_BS = torch.cat([prompt.mask_BP, mask_BT], dim=1)
    if prompt.halves_BP is None:
        return Layout(together_BSE, mask_BS, None)
    text_B1 = mask_BT.sum(1, keepdim=True)
    first_B1 = mask_BT.long().argmax(1, keepdim=True)
    ahead_BP = torch.where(prompt.halves_BP > 0, first_B1 + text_B1 * prompt.halves_BP // 2, 0)
    ahead_BP = torch.where(prompt.mask_BP, ahead_BP, mask_BT.shape[1] + 1)
    rank_BT = torch.arange(mask_BT.shape[1], device=mask_BT.device).expand(len(mask_BT), -1)
    # A virtual token after k text tokens comes just before text token k.
    order_BS = torch.cat([2 * ahead_BP, 2 * rank_BT + 1], dim=1).argsort(dim=1, stable=True)
    text_BT = order_BS.argsort(dim=1)[:, prompt.mask_BP.shape[1] :]
    return Layout(take(together_BSE, order_BS), mask_BS.gather(1, order_BS), text_BT)


def take(states_BSH: Tensor, index_BT: Tensor) -> Tensor:
    """The states at the given positions of each row, `[B, T, H]`."""
    return states_BSH.gather(1, index_BT[:, :, None].expand(-1, -1, states_BSH.shape[2]))
