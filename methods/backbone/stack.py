"""A stack: one transformer of a model, an encoder or a decoder. An encoder-decoder has two."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Cache

from methods.backbone import attention, layers
from methods.backbone.injection import Site

_PROBE_TOKENS = 4


class Memory(NamedTuple):
    """What a decoder's cross-attention reads: the encoder's output.

    Attributes:
        states_BSH: float, the encoder's last hidden states, including those of virtual tokens.
        mask_BS: bool, False at padding.
    """

    states_BSH: Tensor
    mask_BS: Tensor


class Stack:
    """A transformer that runs with an injection's prefixes.

    Args:
        model: transformers' encoder or decoder; it must take `inputs_embeds` and `attention_mask`.
        reads: the width of the encoder's states for its cross-attention; None if it has no cross-attention.

    Attributes:
        sites: the sites of each attention module; empty if the model does not use transformers' attention interface.
        shapes: (heads, width of a head) of each site, in the order of the forward.
        causal: whether a position sees only itself and earlier ones.
        takes_positions, takes_types: whether the model takes positions, and token types.
        first_position: the position of the first token.
    """

    def __init__(self, model: nn.Module, reads: int | None = None) -> None:
        self.model = model
        arguments = set(inspect.signature(model.forward).parameters)
        self.missing = sorted({"inputs_embeds", "attention_mask"} - arguments)
        if self.missing:
            return
        self.takes_positions = "position_ids" in arguments
        self.takes_types = "token_type_ids" in arguments
        self._takes_cache = "use_cache" in arguments
        self.first_position = _first_position(model)
        probe = self._probe(reads)
        self.sites: dict[nn.Module, list[Site]] = probe.sites
        self.shapes = probe.shapes
        self.causal = any(site.stack == "decoder" for site in self.shapes)
        if not self.sites:  # such a model adds its mask, and this name selects that kind of mask
            model.config._attn_implementation = "eager"  # type: ignore[union-attr]
        own = [module for module, sites in self.sites.items() if sites[0].attention == "self"]
        self._blocks = layers.blocks(model, own)
        self._cross = [module for module in self.sites if module not in own]

    def embed(self, ids_BT: Tensor) -> Tensor:
        """The input embeddings of tokens, `[B, T, E]`."""
        embeddings: Tensor = self.model.get_input_embeddings()(ids_BT)  # type: ignore[operator]
        return embeddings

    def run(
        self,
        embeddings_BTE: Tensor,
        mask_BS: Tensor,
        positions_BT: Tensor,
        visitor: attention.Visitor | None,
        *,
        types_BT: Tensor | None = None,
        memory: Memory | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Computes the last hidden states, `[B, T, H]`.

        Args:
            embeddings_BTE: the tokens' embeddings.
            mask_BS: bool, False at padding; it covers the cached tokens and these.
            positions_BT: the tokens' positions, from 0.
            visitor: sees every attention call; None for none.
            types_BT: the tokens' types; None: all 0.
            memory: the encoder's output for the cross-attention.
            cache: the cache of earlier tokens, which is extended.
        """
        options: dict[str, Any] = {"use_cache": cache is not None} if self._takes_cache else {}
        if self.takes_positions:
            options["position_ids"] = positions_BT + self.first_position
        if types_BT is not None:
            options["token_type_ids"] = types_BT
        if cache is not None:
            options["past_key_values"] = cache
        if memory is not None:
            options |= {
                "encoder_hidden_states": memory.states_BSH,
                "encoder_attention_mask": memory.mask_BS.long(),
            }
        hidden: Tensor = self.model(
            inputs_embeds=embeddings_BTE,
            attention_mask=mask_BS.long(),  # some models calculate with it
            **options,
            **{attention.KEYWORD: visitor},
        ).last_hidden_state
        return hidden

    def visit(
        self, embeddings_BTE: Tensor, visitor: attention.Visitor, memory: Memory | None = None
    ) -> Tensor:
        """Like `run`, for input without padding and without a cache."""
        mask = torch.ones(embeddings_BTE.shape[:2], dtype=torch.bool, device=embeddings_BTE.device)
        return self.run(embeddings_BTE, mask, mask.cumsum(1) - 1, visitor, memory=memory)

    def inputs(self, visit: layers.Visit) -> layers.Visited:
        """Passes the vectors from which each site makes its keys and values to `visit` for the length of a `with`.

        Args:
            visit: takes (site, `[B, T, H]`) and returns the vectors to use instead. They are the layer's input or, for
                a cross-attention, the encoder's states.
        """
        mine = [site for site in self.shapes if site.attention == "self"]
        crossed = [site for site in self.shapes if site.attention == "cross"]
        return layers.visited(
            {"hidden_states": (self._blocks, mine), "key_value_states": (self._cross, crossed)}, visit
        )

    @torch.no_grad()
    def _probe(self, reads: int | None) -> attention.SiteFinder:
        """Numbers the sites in one forward; the encoder's states get another length than the text, to recognise them."""
        weight = self.model.get_input_embeddings().weight  # type: ignore[operator]
        probe = attention.SiteFinder(None if reads is None else _PROBE_TOKENS + 1)
        memory = None
        if reads is not None:
            states = weight.new_zeros(1, _PROBE_TOKENS + 1, reads)
            memory = Memory(states, torch.ones(states.shape[:2], dtype=torch.bool, device=weight.device))
        ids_1T = torch.zeros(1, _PROBE_TOKENS, dtype=torch.long, device=weight.device)
        self.visit(self.embed(ids_1T), probe, memory)
        return probe


def _first_position(model: nn.Module) -> int:
    """The position of the first token; RoBERTa and similar models count from after the padding token's index."""
    embeddings = getattr(model, "embeddings", None)
    if hasattr(embeddings, "create_position_ids_from_inputs_embeds"):
        return int(embeddings.padding_idx) + 1  # type: ignore[union-attr, arg-type]
    return 0
