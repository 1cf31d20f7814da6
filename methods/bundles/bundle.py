"""Methods of one structure that run together: their parameters are slices of the same tensors.

The operations of a bundle do not grow with its members. A parameter of all of them is one tensor with a leading axis K; what is
shorter in one member than in another (prompts, pools) is padded with zeros at its end and masked. It stays zero: who trains a
bundle drops the gradient of padding.

Letters: K members, B rows, X rows or places in rows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Segments:
    """Which of K owners each of X consecutive rows belongs to; the rows of an owner stand together, in the owners' order.

    Args:
        counts: the number of rows of each owner.
        device: the device of the rows.
    """

    def __init__(self, counts: Sequence[int], device: torch.device) -> None:
        self.counts = tuple(counts)
        self._device = device

    @functools.cached_property
    def owner_X(self) -> Tensor:
        """`[X]` int64, the number of each row's owner."""
        owners = [owner for owner, count in enumerate(self.counts) for _ in range(count)]
        return torch.tensor(owners, dtype=torch.long, device=self._device)

    def apart(self, values_X: Tensor) -> Tensor:
        """The owners' rows side by side, `[K, most, ...]` of `[X, ...]`, padded with zeros."""
        if self._even:
            return values_X.reshape(len(self.counts), self.counts[0], *values_X.shape[1:])
        # A row of zeros of its own: another owner's row could be infinite, and 0 times it is not 0.
        return torch.cat([values_X, values_X.new_zeros(1, *values_X.shape[1:])])[self._places_KM]

    def joined(self, values_KM: Tensor) -> Tensor:
        """The inverse of `apart`."""
        if self._even:
            return values_KM.flatten(0, 1)
        return values_KM.flatten(0, 1)[self._order_X]

    @property
    def _even(self) -> bool:
        return len(set(self.counts)) == 1 and self.counts[0] > 0

    @functools.cached_property
    def _places_KM(self) -> Tensor:
        most, rows, places, first = max(self.counts), sum(self.counts), [], 0
        for count in self.counts:
            places.append([*range(first, first + count), *[rows] * (most - count)])
            first += count
        return torch.tensor(places, dtype=torch.long, device=self._device)

    @functools.cached_property
    def _order_X(self) -> Tensor:
        most = max(self.counts)
        order = [owner * most + place for owner, count in enumerate(self.counts) for place in range(count)]
        return torch.tensor(order, dtype=torch.long, device=self._device)


class Bundle:
    """The members of a bundle with their parameters and buffers.

    Args:
        members: methods of one class whose configurations differ only in the class's `may_differ`.
        tensors: their parameters and buffers, `[K, ...]` by name.
    """

    def __init__(self, members: Sequence[Any], tensors: Mapping[str, Tensor]) -> None:
        self.members = tuple(members)
        self._tensors = tensors

    @classmethod
    def of(cls, method: nn.Module) -> Bundle:
        """A single method's, which shares the method's tensors."""
        tensors = {**dict(method.named_parameters()), **dict(method.named_buffers())}
        return cls([method], {name: tensor[None] for name, tensor in tensors.items()})

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def config(self) -> Any:
        """The configuration, of which only what is equal in all members may be read."""
        return self.members[0].config

    @property
    def training(self) -> bool:
        return bool(self.members[0].training)

    def sizes(self, name: str, segments: Segments | None) -> Tensor | None:
        """What the configuration of each row's method gives for a size, `[B]` int64; None if all members give the same."""
        given = [getattr(member.config, name) for member in self.members]
        if len(set(given)) == 1:
            return None
        assert segments is not None, "rows of a bundle come with their members"
        return torch.tensor(given, device=segments.owner_X.device)[segments.owner_X]

    def linear(self, name: str, values_KXI: Tensor) -> Tensor:
        """Applies each member's linear layer of this name, `[K, X, O]` of `[K, X, I]`."""
        return torch.baddbmm(self[f"{name}.bias"][:, None], values_KXI, self[f"{name}.weight"].mT)


def first_of(length_B: Tensor, most: int) -> Tensor:
    """A mask of the first `length_B` of `most` places in each row, `[B, most]` bool."""
    return torch.arange(most, device=length_B.device) < length_B[:, None]
