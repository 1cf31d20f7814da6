"""The frozen Hugging Face model, as a function of text and injection.

Nothing in the model is patched, subclassed or written to: prompts go in as input embeddings, prefixes
through the attention interface (`methods/attention.py`).
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from methods import attention, layers
from methods.heads import has_model_head
from methods.injection import Injection, Site
from methods.layout import arrange, take
from methods.readout import sequence_features

Architecture = Literal["encoder", "decoder", "encoder-decoder"]

_PROBE_TOKENS = 4


class BackboneError(ValueError):
    """The model cannot be loaded, or cannot be injected into; the message says why and what would work."""


@dataclass(frozen=True)
class SiteShape:
    """Key/value heads N and head width D of a site."""

    heads: int
    width: int


@dataclass(frozen=True)
class Shape:
    """What a method has to know of a backbone to build its parameters.

    Attributes:
        hidden_size: H, width of the hidden states.
        embedding_size: E, width of the input embeddings (less than H in ALBERT and ELECTRA).
        vocab_size: rows of the input embeddings.
        sites: where keys and values can be prepended, in the order of the forward; none where the model's attention is
            its own (DeBERTa, MPNet).
        layers: L, the number of layers.
        heads: attention heads of a layer.
        max_positions: tokens the position embeddings leave, or None where there is no limit.
        shifts_text: whether the text can start at another position than 0.
        causal: whether a position sees only those before it.
        prompts_are_prefixes: whether a prompt in front of the text is the same as its keys and values: the model is
            causal, and no sliding window hides the prompt from the end of the text.
        parameters: scalars of the frozen model.
        model_head: whether the model's class for classification can be the head (`readout: model`).
    """

    hidden_size: int
    embedding_size: int
    vocab_size: int
    sites: dict[Site, SiteShape]
    layers: int
    heads: int
    max_positions: int | None
    shifts_text: bool
    causal: bool
    prompts_are_prefixes: bool
    parameters: int
    model_head: bool


class Backbone:
    """A frozen model. Build it by `load`, or by `without_weights` for its shape alone.

    Of an encoder-decoder (T5, BART) it is the encoder: the text goes in there, and heads read what comes out of it.
    """

    def __init__(self, model: nn.Module, not_in_file: frozenset[str] = frozenset()) -> None:
        self._not_in_file = not_in_file
        self.config: Any = model.config
        if getattr(self.config, "is_encoder_decoder", False):
            model = model.get_encoder()  # type: ignore[operator]
        self.model = model.eval().requires_grad_(False)
        self._refuse_what_cannot_work()
        self._takes_positions = "position_ids" in self._arguments()
        self._takes_types = "token_type_ids" in self._arguments()
        self._options = {"use_cache": False} if "use_cache" in self._arguments() else {}
        self._first_position = _first_position(model)
        with torch.no_grad():
            probe = self._probe(
                self.embed(torch.zeros(1, _PROBE_TOKENS, dtype=torch.long, device=self.device))
            )
        self._sites = probe.sites
        if not self._sites:  # attention of its own, which adds its mask; the kind of mask follows this name
            model.config._attn_implementation = "eager"  # type: ignore[union-attr]
        self._blocks = layers.blocks(self.model, self._sites)
        self.shape = self._shape(probe)

    @classmethod
    def load(
        cls,
        path: str,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        trust_remote_code: bool = False,
    ) -> Backbone:
        """Loads the model of a hub id or a local folder, from safetensors only.

        Raises:
            BackboneError: it cannot be loaded, or its attention cannot be reached.
        """
        try:
            model, info = AutoModel.from_pretrained(
                path,
                dtype=dtype,
                attn_implementation=attention.IMPLEMENTATION,
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, ImportError) as error:
            raise BackboneError(f"cannot load the model {path!r}: {error}") from error
        # A pooler that is not in the file has a random start, differs from load to load, and is not used.
        missing = frozenset(info["missing_keys"])
        if lost := sorted(name for name in missing if not name.startswith("pooler.")):
            raise BackboneError(
                f"the weights file of {path!r} lacks {len(lost)} tensors of the model: {lost[0]} ..."
            )
        return cls(model.to(device), missing)

    @classmethod
    def without_weights(cls, path: str, *, trust_remote_code: bool = False) -> Backbone:
        """The model of a hub id or folder on the meta device: its shape, without reading its weights."""
        try:
            config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
            with torch.device("meta"):
                model = AutoModel.from_config(
                    config,
                    attn_implementation=attention.IMPLEMENTATION,
                    trust_remote_code=trust_remote_code,
                )
        except (OSError, ValueError, ImportError) as error:
            raise BackboneError(f"cannot read the model {path!r}: {error}") from error
        return cls(model)

    def copy(self) -> Backbone:
        """A backbone of its own, for a method that trains it."""
        return Backbone(copy.deepcopy(self.model), self._not_in_file)

    def attention_modules(self) -> list[nn.Module]:
        """The modules that hold the projections of keys and values, in the order of the forward."""
        return list(self._sites)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def embeddings(self) -> Tensor:
        """Weights of the input embeddings, `[vocab_size, E]`."""
        weight: Tensor = self.model.get_input_embeddings().weight  # type: ignore[operator]
        return weight

    def forward(
        self, ids_BT: Tensor, mask_BT: Tensor, injection: Injection, types_BT: Tensor | None = None
    ) -> Tensor:
        """Hidden states at the text's positions.

        Args:
            ids_BT: `[B, T]` int64, token ids; padding may be on either side (on the right where there
                are sliding windows, which count what lies between a prompt and its text).
            mask_BT: `[B, T]` bool, False at padding.
            injection: of the same B rows.
            types_BT: `[B, T]` int64, 1 at the second text of a pair, for a model that tells the two apart; None: all 0,
                as virtual tokens are.

        Returns:
            `[B, T, H]`, the last hidden states; those of virtual tokens are cut off.
        """
        rows, length = ids_BT.shape
        assert injection.rows == rows, f"injection of {injection.rows} rows for a batch of {rows}"
        embeddings, mask, text_BT = self.embed(ids_BT), mask_BT, None
        if injection.prompt is not None:
            embeddings, mask, text_BT = arrange(injection.prompt, embeddings, mask_BT)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        if injection.offset_B is not None:
            positions = positions + injection.offset_B[:, None]
        prefixes = attention.Prefixes(self._sites, injection.prefixes) if injection.prefixes else None
        types = None
        if types_BT is not None and self._takes_types:
            types = mask.new_zeros(mask.shape, dtype=torch.long)
            if text_BT is None:
                types[:, -length:] = types_BT
            else:
                types.scatter_(1, text_BT, types_BT)
        hidden = self._run(embeddings, mask, positions, prefixes, types)
        return hidden[:, -length:] if text_BT is None else take(hidden, text_BT)

    @torch.no_grad()
    def features(
        self, ids_BT: Tensor, mask_BT: Tensor, readout: str, types_BT: Tensor | None = None
    ) -> Tensor:
        """What the bare model makes of texts, `[B, H]` float32: the query of methods that look at their input."""
        hidden = self.forward(ids_BT, mask_BT, Injection(rows=len(ids_BT)), types_BT)
        return sequence_features(hidden, mask_BT, readout)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Input embeddings of tokens, `[B, T, E]`."""
        embeddings: Tensor = self.model.get_input_embeddings()(ids_BT)  # type: ignore[operator]
        return embeddings

    def keys_and_values(self, embeddings_BTE: Tensor) -> dict[Site, tuple[Tensor, Tensor]]:
        """Each site's own keys and values, `[B, N, T, D]`, as they enter the attention, for input without padding.

        Those of a prompt, used as prefixes, are the prompt, in a model with `prompts_are_prefixes`.
        """
        return self._probe(embeddings_BTE).keys_and_values

    def project(self, inputs: Mapping[Site, Tensor]) -> dict[Site, tuple[Tensor, Tensor]]:
        """Keys and values that each layer makes of the given vectors, were they its input.

        The vectors take the layer's whole path: its norm where it comes first, its projections, `k_norm` where there
        is one, and the rotation of positions 0 to P - 1. What the layer makes of them beside is dropped, so a
        gradient reaches each vector through its own keys and values alone.

        Args:
            inputs: by site, `[R, P, H]` float; other sites are left out.

        Returns:
            By the same sites, keys and values `[R, N, P, D]`.
        """
        order = list(self.shape.sites)

        def replace(call: int, hidden_RPH: Tensor) -> Tensor:
            return inputs[order[call]].to(hidden_RPH.dtype) if order[call] in inputs else hidden_RPH

        rows, length, _ = next(iter(inputs.values())).shape
        nothing = self.embeddings.new_zeros(rows, length, self.shape.embedding_size)
        with layers.visited(self._blocks, replace):
            made = self.keys_and_values(nothing)
        return {site: made[site] for site in inputs}

    @torch.no_grad()
    def layer_inputs(self, embeddings_BTE: Tensor) -> dict[Site, Tensor]:
        """What enters each layer, `[B, T, H]`, for input without padding."""
        found: list[Tensor] = []

        def keep(call: int, hidden_BTH: Tensor) -> Tensor:
            found.append(hidden_BTH)
            return hidden_BTH

        with layers.visited(self._blocks, keep):
            self._probe(embeddings_BTE)
        return dict(zip(self.shape.sites, found, strict=True))

    def fingerprint(self) -> str:
        """sha256 of all weights: equal before and after anything we do."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            if name in self._not_in_file:
                continue
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _probe(self, embeddings_BTE: Tensor) -> attention.Probe:
        probe = attention.Probe()
        mask = torch.ones(embeddings_BTE.shape[:2], dtype=torch.bool, device=embeddings_BTE.device)
        self._run(embeddings_BTE.to(self.embeddings.dtype), mask, mask.cumsum(1) - 1, probe)
        return probe

    def _run(
        self,
        embeddings: Tensor,
        mask: Tensor,
        positions: Tensor,
        visitor: attention.Visitor | None,
        types: Tensor | None = None,
    ) -> Tensor:
        hidden: Tensor = self.model(
            inputs_embeds=embeddings,
            attention_mask=mask.long(),  # some architectures do arithmetic on it
            **({"position_ids": positions + self._first_position} if self._takes_positions else {}),
            **({} if types is None else {"token_type_ids": types}),
            **self._options,
            **{attention.KEYWORD: visitor},
        ).last_hidden_state
        return hidden

    def _arguments(self) -> set[str]:
        return set(inspect.signature(self.model.forward).parameters)

    def _refuse_what_cannot_work(self) -> None:
        name = type(self.model).__name__
        missing = {"inputs_embeds", "attention_mask"} - self._arguments()
        if missing:
            raise BackboneError(
                f"{name} takes no {' and no '.join(sorted(missing))}, which prompts need; "
                "choose a model such as BERT, RoBERTa, ModernBERT, GPT-2, Llama, Qwen or Mistral"
            )

    def _shape(self, probe: attention.Probe) -> Shape:
        text = self.config.get_text_config()
        limit = getattr(text, "max_position_embeddings", None)
        causal = any(site.stack == "decoder" for site in probe.keys_and_values)
        return Shape(
            hidden_size=text.hidden_size,
            embedding_size=self.embeddings.shape[1],
            vocab_size=self.embeddings.shape[0],
            sites={
                site: SiteShape(heads=key.shape[1], width=key.shape[3])
                for site, (key, _) in probe.keys_and_values.items()
            },
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            max_positions=None if limit is None else limit - self._first_position,
            shifts_text=self._takes_positions,
            causal=causal,
            prompts_are_prefixes=causal and not _has_sliding_window(text),
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            model_head=has_model_head(self.config, pooler=not self._not_in_file),
        )


def _has_sliding_window(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any("sliding" in kind for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def _first_position(model: nn.Module) -> int:
    """Position of the first token: RoBERTa and its kin count from the padding token's index on."""
    embeddings = getattr(model, "embeddings", None)
    if hasattr(embeddings, "create_position_ids_from_inputs_embeds"):
        return int(embeddings.padding_idx) + 1  # type: ignore[union-attr, arg-type]
    return 0
