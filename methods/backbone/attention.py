"""An attention function for transformers that prepends keys and values.

Transformers' models look up their attention by name and pass it every extra keyword of the model's forward. We
register one function under the name `IMPLEMENTATION` and pass it a `Prefixes` or a `SiteFinder` as the keyword
`promptfront`. Nothing in the model is patched. The mask function must be registered too; without it, masks silently
become None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from methods.backbone.injection import Prefix, Site

IMPLEMENTATION = "promptfront"
KEYWORD = "promptfront"

Sites = Mapping[nn.Module, list[Site]]
"""The sites of each attention module in the order of its calls (ALBERT's layers share one module)."""


@dataclass(frozen=True)
class SiteShape:
    """The number of key/value heads N and the head width D of a site."""

    heads: int
    width: int


class Visitor(Protocol):
    """Sees, and may change, the keys and values of every attention call in a forward."""

    def visit(
        self, module: nn.Module, key_BNSD: Tensor, value_BNSD: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Takes the module's own keys, values and mask, and returns those that it shall use."""


class SiteFinder:
    """Numbers the attention modules of a stack during one forward.

    Args:
        memory: how many states the cross-attention gets, which must differ from the number of tokens; None if there is
            no cross-attention.

    Attributes:
        sites: the sites of each module.
        shapes: the heads and the width of each site's keys.
    """

    def __init__(self, memory: int | None = None) -> None:
        self._memory = memory
        self.sites: dict[nn.Module, list[Site]] = {}
        self.shapes: dict[Site, SiteShape] = {}

    def visit(
        self, module: nn.Module, key_BNSD: Tensor, value_BNSD: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        decoder = self._memory is not None or getattr(module, "is_causal", False)
        kind = "cross" if key_BNSD.shape[2] == self._memory else "self"
        layer = sum(site.attention == kind for site in self.shapes)
        site = Site("decoder" if decoder else "encoder", kind, layer)
        self.sites.setdefault(module, []).append(site)
        self.shapes[site] = SiteShape(key_BNSD.shape[1], key_BNSD.shape[3])
        return key_BNSD, value_BNSD, mask


class _BySite:
    """Finds the site of each call. Use it for one forward only, since it counts the calls of shared modules."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._calls: dict[nn.Module, int] = {}

    def _site(self, module: nn.Module) -> Site:
        call = self._calls.get(module, 0)
        self._calls[module] = call + 1
        return self._sites[module][call]


class Reader(_BySite):
    """Stores each site's own keys and values, `[B, N, T, D]`."""

    def __init__(self, sites: Sites) -> None:
        super().__init__(sites)
        self.keys_and_values: dict[Site, tuple[Tensor, Tensor]] = {}

    def visit(
        self, module: nn.Module, key_BNSD: Tensor, value_BNSD: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        self.keys_and_values[self._site(module)] = (key_BNSD, value_BNSD)
        return key_BNSD, value_BNSD, mask


class Prefixes(_BySite):
    """Prepends each site's prefix."""

    def __init__(self, sites: Sites, prefixes: Mapping[Site, Prefix]) -> None:
        super().__init__(sites)
        self._prefixes = prefixes

    def visit(
        self, module: nn.Module, key_BNSD: Tensor, value_BNSD: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        prefix = self._prefixes.get(self._site(module))
        if prefix is None:
            return key_BNSD, value_BNSD, mask
        assert mask is not None, "the mask function below always builds a mask"
        # Every position sees the prefix, even with a sliding window.
        seen = prefix.mask_BP[:, None, None, :].expand(-1, 1, mask.shape[2], -1)
        return (
            torch.cat([prefix.key_BNPD.to(key_BNSD.dtype), key_BNSD], dim=2),
            torch.cat([prefix.value_BNPD.to(value_BNSD.dtype), value_BNSD], dim=2),
            torch.cat([seen, mask.expand(len(seen), -1, -1, -1)], dim=3),
        )


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    visitor: Visitor | None = options.pop(KEYWORD, None)
    if visitor is not None:
        own = key.shape[2]
        key, value, attention_mask = visitor.visit(module, key, value, attention_mask)
        bias: Tensor | None = options.get("position_bias")
        if bias is not None and key.shape[2] > own:
            # T5 adds a bias by distance. A prefix has no distance, so its bias is 0.
            options["position_bias"] = nn.functional.pad(bias, (key.shape[2] - own, 0))
    function: Callable[..., tuple[Tensor, None]] = sdpa_attention_forward
    return function(module, query, key, value, attention_mask, **options)


def _mask(*args: Any, **options: Any) -> Tensor:
    """Builds a boolean mask `[B, 1, Q, KV]` even if sdpa needs none, since a prefix extends it."""
    options["allow_is_causal_skip"] = False
    options["allow_is_bidirectional_skip"] = False
    mask: Tensor = sdpa_mask(*args, **options)
    return mask


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, _mask)
