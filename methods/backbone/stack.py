"""One transformer of a model: an encoder or a decoder, and how it is run. An encoder-decoder has two."""

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
    """What a decoder's cross-attention looks at: the encoder's last hidden states, with the virtual tokens'.

    Attributes:
        states_BSH: float.
        mask_BS: bool, False at padding.
    """

    states_BSH: Tensor
    mask_BS: Tensor


class Stack:
    """A transformer that is run with an injection's prefixes.

    Args:
        model: takes `inputs_embeds` and `attention_mask`.
        reads: width of the encoder's states that its cross-attention looks at; None where it has none.

    Attributes:
        sites: of each attention module, its places for keys and values; empty where the attention is the model's own.
        shapes: of each site, (heads, width of a head), in the order of the forward.
        causal: whether a position sees only those before it.
        takes_positions, takes_types: whether it takes positions, token types.
        first_position: of the first token.
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
        if not self.sites:  # attention of its own, which adds its mask; the kind of mask follows this name
            model.config._attn_implementation = "eager"  # type: ignore[union-attr]
        own = [module for module, sites in self.sites.items() if sites[0].attention == "self"]
        self._blocks = layers.blocks(model, own)
        self._cross = [module for module in self.sites if module not in own]

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Input embeddings of tokens, `[B, T, E]`."""
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
        """Last hidden states, `[B, T, H]`.

        Args:
            embeddings_BTE: of the tokens.
            mask_BS: bool, False at padding, of what is in the cache and the tokens.
            positions_BT: of the tokens, from 0.
            visitor: of the attention.
            types_BT: token types; None: all 0.
            memory: for the cross-attention.
            cache: of tokens before these; it is extended.
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
            attention_mask=mask_BS.long(),  # some architectures do arithmetic on it
            **options,
            **{attention.KEYWORD: visitor},
        ).last_hidden_state
        return hidden

    def visit(
        self, embeddings_BTE: Tensor, visitor: attention.Visitor, memory: Memory | None = None
    ) -> Tensor:
        """As `run`, of input without padding and without a past."""
        mask = torch.ones(embeddings_BTE.shape[:2], dtype=torch.bool, device=embeddings_BTE.device)
        return self.run(embeddings_BTE, mask, mask.cumsum(1) - 1, visitor, memory=memory)

    def inputs(self, visit: layers.Visit) -> layers.Visited:
        """For the length of a `with`, shows `visit` what each site makes its keys and values of, and uses what it answers.

        Args:
            visit: (the site, `[B, T, H]`) to `[B, T, H]`: the layer's input or, of a cross-attention, the encoder's states.
        """
        mine = [site for site in self.shapes if site.attention == "self"]
        crossed = [site for site in self.shapes if site.attention == "cross"]
        return layers.visited(
            {"hidden_states": (self._blocks, mine), "key_value_states": (self._cross, crossed)}, visit
        )

    @torch.no_grad()
    def _probe(self, reads: int | None) -> attention.SiteFinder:
        """Numbers the sites; what the cross-attention reads is longer than the text, to be told from it."""
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
    """Position of the first token: RoBERTa and its kin count from the padding token's index on."""
    embeddings = getattr(model, "embeddings", None)
    if hasattr(embeddings, "create_position_ids_from_inputs_embeds"):
        return int(embeddings.padding_idx) + 1  # type: ignore[union-attr, arg-type]
    return 0
