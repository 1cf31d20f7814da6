"""Injections: what a method adds to the backbone for a batch.

Every tensor has a row dimension, so rows of different trials can share one forward of the backbone (`concatenate`).
Rows with fewer virtual tokens than others are padded, and the padding is masked.

Letters: B rows, P virtual tokens, E width of the input embeddings, N key/value heads, D head width; of updates K owners, R rank,
I and O widths of a layer's input and output.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Site(NamedTuple):
    """A place in the backbone where keys and values can be prepended.

    Attributes:
        stack: "encoder" or "decoder".
        attention: "self" or "cross".
        layer: the layer's number within (stack, attention), from 0.
    """

    stack: str
    attention: str
    layer: int


@dataclass(frozen=True)
class Prompt:
    """Virtual tokens among the embeddings of the text.

    Attributes:
        embeddings_BPE: `[B, P, E]` float, in the order in which the model sees them.
        mask_BP: `[B, P]` bool, False at the padding of a row with fewer than P virtual tokens.
        halves_BP: `[B, P]` int64, how many halves of the row's text stand before the virtual token: 0 in front of the
            text, 1 in the middle, 2 behind it. None: all are in front, and none is padding.
    """

    embeddings_BPE: Tensor
    mask_BP: Tensor
    halves_BP: Tensor | None = None


@dataclass(frozen=True)
class Prefix:
    """Keys and values in front of a layer's own.

    Attributes:
        key_BNPD: `[B, N, P, D]` float, keys as they enter the attention (after a rotation, if the model has one).
        value_BNPD: `[B, N, P, D]` float, values.
        mask_BP: `[B, P]` bool, False at the padding of a row with fewer than P virtual tokens.
    """

    key_BNPD: Tensor
    value_BNPD: Tensor
    mask_BP: Tensor


@dataclass(frozen=True)
class Update:
    """Low-rank updates of a linear layer: to what it makes of x they add B A x.

    Attributes:
        down_KRI: `[K, R, I]` float, the matrices A of K owners.
        up_KOR: `[K, O, R]` float, their matrices B.
        owner_B: `[B]` int64, the owner of each row.
    """

    down_KRI: Tensor
    up_KOR: Tensor
    owner_B: Tensor


@dataclass(frozen=True)
class Injection:
    """What the backbone sees besides the text.

    Attributes:
        rows: the number of rows, B.
        prompt: virtual tokens among the text's, or None.
        prefixes: the prefix of each site; other sites get none.
        updates: the update of each linear layer by the layer's name in the model; other layers get none.
        offset_B: `[B]` int64, the position of the row's first token (of text or prompt); None for 0.
        auxiliary_loss_B: `[B]` float, a term that is added to the row's loss; None for none.
    """

    rows: int
    prompt: Prompt | None = None
    prefixes: dict[Site, Prefix] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    offset_B: Tensor | None = None
    auxiliary_loss_B: Tensor | None = None

    def of(self, rows: Sequence[int]) -> Injection:
        """The injection of some of the rows, in the given order."""
        if list(rows) == list(range(self.rows)):
            return self
        prompt = self.prompt
        if prompt is not None:
            halves_BP = None if prompt.halves_BP is None else prompt.halves_BP[rows]
            prompt = Prompt(prompt.embeddings_BPE[rows], prompt.mask_BP[rows], halves_BP)
        return Injection(
            rows=len(rows),
            prompt=prompt,
            prefixes={
                site: Prefix(prefix.key_BNPD[rows], prefix.value_BNPD[rows], prefix.mask_BP[rows])
                for site, prefix in self.prefixes.items()
            },
            updates={
                name: Update(update.down_KRI, update.up_KOR, update.owner_B[rows])
                for name, update in self.updates.items()
            },
            offset_B=None if self.offset_B is None else self.offset_B[rows],
            auxiliary_loss_B=None if self.auxiliary_loss_B is None else self.auxiliary_loss_B[rows],
        )


def full_mask(rows: int, num_virtual_tokens: int, device: torch.device) -> Tensor:
    """A mask without padding: `[B, P]` bool, True everywhere."""
    return torch.ones(rows, num_virtual_tokens, dtype=torch.bool, device=device)


def concatenate(injections: Sequence[Injection]) -> Injection:
    """Joins the rows of several injections; a single injection is returned unchanged."""
    if len(injections) == 1:
        return injections[0]
    rows = [injection.rows for injection in injections]
    prompts = [injection.prompt for injection in injections]
    prompt = None
    if any(prompts):
        longest = max(p.mask_BP.shape[1] for p in prompts if p)
        prompt = Prompt(
            _stack([p.embeddings_BPE if p else None for p in prompts], rows, length=1),
            _stack([p.mask_BP if p else None for p in prompts], rows, length=1),
            _stack([_halves(p) if p else None for p in prompts], rows, length=1)
            if any(p is None or p.halves_BP is not None or p.mask_BP.shape[1] < longest for p in prompts)
            else None,
        )
    prefixes = {}
    for site in sorted({site for injection in injections for site in injection.prefixes}):
        at_site = [injection.prefixes.get(site) for injection in injections]
        prefixes[site] = Prefix(
            _stack([p.key_BNPD if p else None for p in at_site], rows, length=2),
            _stack([p.value_BNPD if p else None for p in at_site], rows, length=2),
            _stack([p.mask_BP if p else None for p in at_site], rows, length=1),
        )
    return Injection(
        rows=sum(rows),
        prompt=prompt,
        prefixes=prefixes,
        updates=_updates([injection.updates for injection in injections], rows),
        offset_B=_stack_rows([injection.offset_B for injection in injections], rows),
        auxiliary_loss_B=_stack_rows([injection.auxiliary_loss_B for injection in injections], rows),
    )


def _updates(parts: Sequence[Mapping[str, Update]], rows: Sequence[int]) -> dict[str, Update]:
    """Joins the owners of each layer's updates, with ranks padded to the largest; rows without an update share an owner of zeros."""
    joined = {}
    for name in dict.fromkeys(itertools.chain(*parts)):
        like = next(part[name] for part in parts if name in part)
        out, inner = like.up_KOR.shape[1], like.down_KRI.shape[2]
        nothing = Update(
            like.down_KRI.new_zeros(1, 1, inner), like.up_KOR.new_zeros(1, out, 1), like.owner_B.new_zeros(0)
        )
        given = [part.get(name, nothing) for part in parts]
        rank = max(update.down_KRI.shape[1] for update in given)
        firsts = itertools.accumulate((len(update.down_KRI) for update in given), initial=0)
        joined[name] = Update(
            torch.cat([pad(update.down_KRI, (0, 0, 0, rank - update.down_KRI.shape[1])) for update in given]),
            torch.cat([pad(update.up_KOR, (0, rank - update.up_KOR.shape[2])) for update in given]),
            torch.cat(
                [
                    update.owner_B.new_full((count,), first) if update is nothing else update.owner_B + first
                    for update, first, count in zip(given, firsts, rows, strict=False)
                ]
            ),
        )
    return joined


def _halves(prompt: Prompt) -> Tensor:
    return (
        torch.zeros_like(prompt.mask_BP, dtype=torch.long) if prompt.halves_BP is None else prompt.halves_BP
    )


def _stack(parts: Sequence[Tensor | None], rows: Sequence[int], length: int) -> Tensor:
    """Concatenates parts along the rows, padded with zeros in front in dimension `length`; None is all padding."""
    present = [part for part in parts if part is not None]
    longest = max(part.shape[length] for part in present)
    like = present[0]
    padded = []
    for part, count in zip(parts, rows, strict=True):
        shape = list(like.shape)
        shape[0] = count
        shape[length] = longest - (0 if part is None else part.shape[length])
        padding = like.new_zeros(shape)
        padded.append(padding if part is None else torch.cat([padding, part], dim=length))
    return torch.cat(padded)


def _stack_rows(parts: Sequence[Tensor | None], rows: Sequence[int]) -> Tensor | None:
    """Like `_stack` for tensors `[B]`; None if all parts are None."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    return torch.cat(
        [
            present[0].new_zeros(count) if part is None else part
            for part, count in zip(parts, rows, strict=True)
        ]
    )
