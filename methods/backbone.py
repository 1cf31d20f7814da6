"""The frozen Hugging Face model, as a function of text and injection.

Nothing in the model is patched, subclassed or written to: prompts go in as input embeddings, prefixes
through the attention interface (`methods/attention.py`).
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from methods import attention
from methods.injection import Injection, Site

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
        sites: where keys and values can be prepended, in the order of the forward.
        max_positions: tokens the position embeddings leave, or None where there is no limit.
        causal: whether a position sees only those before it.
        parameters: scalars of the frozen model.
    """

    hidden_size: int
    embedding_size: int
    vocab_size: int
    sites: dict[Site, SiteShape]
    max_positions: int | None
    causal: bool
    parameters: int

    @property
    def num_layers(self) -> int:
        """L, the number of key/value sites."""
        return len(self.sites)


class Backbone:
    """A frozen model. Build it by `load`, or by `without_weights` for its shape alone."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval().requires_grad_(False)
        self.config: Any = model.config
        self._refuse_what_cannot_work()
        self._options = {"use_cache": False} if "use_cache" in self._arguments() else {}
        self._first_position = _first_position(model)
        probe = self._probe(torch.zeros(1, _PROBE_TOKENS, dtype=torch.long, device=self.device))
        self._sites = probe.sites
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
            model = AutoModel.from_pretrained(
                path,
                dtype=dtype,
                attn_implementation=attention.IMPLEMENTATION,
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
            )
        except (OSError, ValueError, ImportError) as error:
            raise BackboneError(f"cannot load the model {path!r}: {error}") from error
        return cls(model.to(device))

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

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def embeddings(self) -> Tensor:
        """Weights of the input embeddings, `[vocab_size, E]`."""
        weight: Tensor = self.model.get_input_embeddings().weight  # type: ignore[operator]
        return weight

    def forward(self, ids_BT: Tensor, mask_BT: Tensor, injection: Injection) -> Tensor:
        """Hidden states at the text's positions.

        Args:
            ids_BT: `[B, T]` int64, token ids, padded on the right.
            mask_BT: `[B, T]` bool, False at padding.
            injection: of the same B rows.

        Returns:
            `[B, T, H]`, the last hidden states; those of virtual tokens are cut off.
        """
        rows, length = ids_BT.shape
        assert injection.rows == rows, f"injection of {injection.rows} rows for a batch of {rows}"
        embeddings = self.model.get_input_embeddings()(ids_BT)  # type: ignore[operator]
        positions = torch.arange(length, device=ids_BT.device).expand(rows, -1)
        if injection.offset_B is not None:
            positions = positions + injection.offset_B[:, None]
        mask = mask_BT
        virtual = 0
        if injection.prompt is not None:
            virtual = injection.prompt.mask_BP.shape[1]
            prompt = injection.prompt.embeddings_BPE.to(embeddings.dtype)
            embeddings = torch.cat([prompt, embeddings], dim=1)
            mask = torch.cat([injection.prompt.mask_BP, mask_BT], dim=1)
            before = (injection.prompt.mask_BP.cumsum(1) - 1).clamp(min=0)
            positions = torch.cat([before, positions], dim=1)
        prefixes = attention.Prefixes(self._sites, injection.prefixes) if injection.prefixes else None
        hidden = self._run(embeddings, mask, positions, prefixes)
        return hidden[:, virtual:]

    def keys_and_values(self, ids_BT: Tensor) -> dict[Site, tuple[Tensor, Tensor]]:
        """Each site's own keys and values, `[B, N, T, D]`, as they enter the attention, for texts without padding."""
        return self._probe(ids_BT).keys_and_values

    def fingerprint(self) -> str:
        """sha256 of all weights: equal before and after anything we do."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _probe(self, ids_BT: Tensor) -> attention.Probe:
        probe = attention.Probe()
        positions = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand(len(ids_BT), -1)
        with torch.no_grad():
            embeddings = self.model.get_input_embeddings()(ids_BT)  # type: ignore[operator]
            mask = torch.ones_like(ids_BT, dtype=torch.bool)
            self._run(embeddings, mask, positions, probe)
        return probe

    def _run(
        self, embeddings: Tensor, mask: Tensor, positions: Tensor, visitor: attention.Visitor | None
    ) -> Tensor:
        hidden: Tensor = self.model(
            inputs_embeds=embeddings,
            attention_mask=mask.long(),  # some architectures do arithmetic on it
            position_ids=positions + self._first_position,
            **self._options,
            **{attention.KEYWORD: visitor},
        ).last_hidden_state
        return hidden

    def _arguments(self) -> set[str]:
        return set(inspect.signature(self.model.forward).parameters)

    def _refuse_what_cannot_work(self) -> None:
        name = type(self.model).__name__
        if getattr(self.config, "is_encoder_decoder", False):
            raise BackboneError(f"{name} is an encoder-decoder; choose an encoder or a decoder")
        missing = {"inputs_embeds", "position_ids", "attention_mask"} - self._arguments()
        if missing:
            raise BackboneError(
                f"{name} takes no {' and no '.join(sorted(missing))}, which prompts need; "
                "choose a model such as BERT, RoBERTa, ModernBERT, GPT-2, Llama, Qwen or Mistral"
            )

    def _shape(self, probe: attention.Probe) -> Shape:
        if not probe.keys_and_values:
            raise BackboneError(
                f"the attention of {type(self.model).__name__} does not use transformers' attention interface, "
                "so prefixes cannot reach it; choose a model such as BERT, RoBERTa, ModernBERT, GPT-2, Llama, "
                "Qwen or Mistral"
            )
        text = self.config.get_text_config()
        limit = getattr(text, "max_position_embeddings", None)
        return Shape(
            hidden_size=text.hidden_size,
            embedding_size=self.embeddings.shape[1],
            vocab_size=self.embeddings.shape[0],
            sites={
                site: SiteShape(heads=key.shape[1], width=key.shape[3])
                for site, (key, _) in probe.keys_and_values.items()
            },
            max_positions=None if limit is None else limit - self._first_position,
            causal=any(site.stack == "decoder" for site in probe.keys_and_values),
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
        )


def _first_position(model: nn.Module) -> int:
    """Position of the first token: RoBERTa and its kin count from the padding token's index on."""
    embeddings = getattr(model, "embeddings", None)
    if hasattr(embeddings, "create_position_ids_from_input_ids"):
        return int(embeddings.padding_idx) + 1  # type: ignore[union-attr, arg-type]
    return 0
