"""The frozen Hugging Face model, as a function of text and injection.

The model is not patched, subclassed or changed: prompts go in as input embeddings, prefixes through the attention
interface (`methods/backbone/attention.py`), and low-rank updates through hooks of one forward (`methods/backbone/layers.py`).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from methods.backbone import attention, loading
from methods.backbone.injection import Injection, Site
from methods.backbone.layers import Visit, updated
from methods.backbone.layout import Started, arrange
from methods.backbone.loading import BackboneError
from methods.backbone.readout import sequence_features
from methods.backbone.shape import shape_of
from methods.backbone.stack import Memory, Stack


class Backbone:
    """A frozen model. Build it with `load`, or with `without_weights` if only its shape is needed.

    Of an encoder-decoder (T5, BART) it is only the encoder, which heads read. With its language model it is both: heads that write
    read the decoder, all others the encoder.

    Args:
        model: transformers' base model, or its class with a language-model head.
        not_in_file: names of weights that were not in the file and so have no meaningful values.
        language_model: whether `model` has a language-model head.
    """

    def __init__(
        self, model: nn.Module, not_in_file: frozenset[str] = frozenset(), *, language_model: bool = False
    ) -> None:
        self._not_in_file = not_in_file
        self.config: Any = model.config
        self.language_model = language_model
        two = bool(getattr(self.config, "is_encoder_decoder", False))
        if two and not language_model:
            model = model.get_encoder()  # type: ignore[operator]
        self.model = model.eval().requires_grad_(False)
        whole: Any = model
        if language_model:
            self._reader = Stack(whole.get_encoder() if two else whole.base_model)
        else:
            self._reader = Stack(model)
        self._refuse_what_cannot_work()
        width: int = whole.config.get_text_config().hidden_size
        self._writer = Stack(whole.get_decoder(), reads=width) if two and language_model else None
        self._stacks = [stack for stack in (self._reader, self._writer) if stack is not None]
        self._sites = {module: sites for stack in self._stacks for module, sites in stack.sites.items()}
        self.shape = shape_of(self.model, self.config, self._stacks, pooler=not not_in_file)

    @classmethod
    def load(
        cls,
        path: str,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        trust_remote_code: bool = False,
        language_model: bool = False,
    ) -> Backbone:
        """Loads a model from a hub id or a local folder, only from safetensors.

        Args:
            path: the hub id or the folder.
            dtype: the number type of the weights.
            device: the device for the weights.
            trust_remote_code: whether code in the folder may be run.
            language_model: whether to load the head that scores the vocabulary, for tasks that read or write words.

        Raises:
            BackboneError: the model cannot be loaded, or prompts cannot be put into it.
        """
        model, missing = loading.with_weights(path, dtype, trust_remote_code, language_model)
        return cls(model.to(device), missing, language_model=language_model)

    @classmethod
    def without_weights(
        cls, path: str, *, trust_remote_code: bool = False, language_model: bool = False
    ) -> Backbone:
        """Loads a model's shape on the meta device, without reading its weights."""
        model = loading.on_meta(path, trust_remote_code, language_model)
        return cls(model, language_model=language_model)

    def copy(self) -> Backbone:
        """Copies the backbone, for a method that trains the copy."""
        return Backbone(copy.deepcopy(self.model), self._not_in_file, language_model=self.language_model)

    def attention_modules(self) -> list[nn.Module]:
        """The modules with the projections of keys and values, in the order of the forward."""
        return list(self._sites)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def first_written(self) -> int:
        """The start token of an encoder-decoder's decoder."""
        found: int | None = self.config.decoder_start_token_id
        if found is None:
            raise BackboneError("config.json has no decoder_start_token_id, which the decoder needs to begin")
        return found

    @property
    def embeddings(self) -> Tensor:
        """The weights of the input embeddings, `[vocab_size, E]`."""
        weight: Tensor = self.model.get_input_embeddings().weight  # type: ignore[operator]
        return weight

    def forward(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        injection: Injection,
        types_BT: Tensor | None = None,
        written_BU: Tensor | None = None,
    ) -> Tensor:
        """Computes the last hidden states of the text, or of the decoder's tokens if `written_BU` is given.

        Args:
            ids_BT: `[B, T]` int64, token ids. Padding may be on either side; with sliding windows it must be on the
                right, since they count what lies between a prompt and its text.
            mask_BT: `[B, T]` bool, False at padding.
            injection: the injection into the same B rows.
            types_BT: `[B, T]` int64, token types: 1 at the second text of a pair. None means all 0; virtual tokens get
                0.
            written_BU: `[B, U]` int64, for an encoder-decoder that writes: the decoder's tokens after its start token,
                padded on the right, where no other position sees them.

        Returns:
            The last hidden states without those of virtual tokens: `[B, T, H]`, or `[B, 1 + U, H]` from the decoder.
        """
        started = self.read(ids_BT, mask_BT, injection, types_BT)
        if written_BU is not None:
            start_B1 = torch.full_like(ids_BT[:, :1], self.first_written)
            return self.write(torch.cat([start_B1, written_BU], dim=1), started)
        return started.text(ids_BT.shape[1])

    def read(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        injection: Injection,
        types_BT: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Started:
        """Runs text and injection; in an encoder-decoder, only through the encoder.

        Args:
            ids_BT, mask_BT, injection, types_BT: see `forward`.
            cache: a cache to fill, so that `write` can continue a decoder's text.
        """
        length = ids_BT.shape[1]
        assert injection.rows == len(ids_BT), f"injection of {injection.rows} rows for {len(ids_BT)}"
        embeddings, mask, text_BT = self.embed(ids_BT), mask_BT, None
        if injection.prompt is not None:
            embeddings, mask, text_BT = arrange(injection.prompt, embeddings, mask_BT)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        if injection.offset_B is not None:
            positions = positions + injection.offset_B[:, None]
        types = None
        if types_BT is not None and self._reader.takes_types:
            types = mask.new_zeros(mask.shape, dtype=torch.long)
            if text_BT is None:
                types[:, -length:] = types_BT
            else:
                types.scatter_(1, text_BT, types_BT)
        with self._injected(injection) as visitor:
            states = self._reader.run(embeddings, mask, positions, visitor, types_BT=types, cache=cache)
        return Started(injection, states, mask, text_BT)

    def write(self, ids_BU: Tensor, started: Started, cache: Cache | None = None) -> Tensor:
        """Computes hidden states of further tokens after texts that were read, `[B, U, H]`.

        Args:
            ids_BU: `[B, U]` int64, the tokens; for an encoder-decoder they begin with its start token.
            started: the result of `read`. For a decoder its mask must cover all tokens, including these.
            cache: the cache of earlier tokens; an encoder-decoder needs none for its first tokens.
        """
        injected = self._injected(started.injection)
        if self._writer is not None:
            before = 0 if cache is None else int(cache.get_seq_length())
            mask = started.mask_BS.new_ones(len(ids_BU), before + ids_BU.shape[1])
            positions = (mask.cumsum(1) - 1)[:, before:]
            memory = Memory(started.states_BSH, started.mask_BS)
            embeddings = self._writer.embed(ids_BU)
            with injected as visitor:
                return self._writer.run(embeddings, mask, positions, visitor, memory=memory, cache=cache)
        mask = started.mask_BS
        positions = (mask.cumsum(1) - 1)[:, -ids_BU.shape[1] :]
        if started.injection.offset_B is not None:
            positions = positions + started.injection.offset_B[:, None]
        with injected as visitor:
            return self._reader.run(self.embed(ids_BU), mask, positions, visitor, cache=cache)

    @contextlib.contextmanager
    def _injected(self, injection: Injection) -> Iterator[attention.Visitor | None]:
        """Puts updates into the layers for one forward; gives what puts prefixes into the attention."""
        with updated(self.model, injection.updates):
            yield attention.Prefixes(self._sites, injection.prefixes) if injection.prefixes else None

    @torch.no_grad()
    def features(
        self, ids_BT: Tensor, mask_BT: Tensor, readout: str, types_BT: Tensor | None = None
    ) -> Tensor:
        """The bare model's features of texts, `[B, H]` float32: the query of methods that look at their input."""
        hidden = self.forward(ids_BT, mask_BT, Injection(rows=len(ids_BT)), types_BT)
        return sequence_features(hidden, mask_BT, readout)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """The input embeddings of tokens, `[B, T, E]`."""
        return self._reader.embed(ids_BT)

    def keys_and_values(self, embeddings_BTE: Tensor) -> dict[Site, tuple[Tensor, Tensor]]:
        """Computes each site's keys and values as they enter the attention, `[B, N, T, D]`, for input without padding.

        In a model with `prompts_are_prefixes`, a prompt's keys and values as prefixes are equal to the prompt. A
        decoder that writes gets the same input as its encoder.
        """
        reader = attention.Reader(self._sites)
        states = self._reader.visit(embeddings_BTE.to(self.embeddings.dtype), reader)
        if self._writer is not None:
            mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
            self._writer.visit(embeddings_BTE.to(states.dtype), reader, Memory(states, mask))
        return reader.keys_and_values

    def project(self, inputs: Mapping[Site, Tensor]) -> dict[Site, tuple[Tensor, Tensor]]:
        """Computes the keys and values that each layer would make of given vectors as its input.

        The vectors take the layer's whole path: its norm if that comes first, its projections, `k_norm` if it has one,
        and the rotation of positions 0 to P - 1. For a cross-attention they take the path of the encoder's states. The
        layer's other output is dropped, so a gradient reaches each vector only through its own keys and values.

        Args:
            inputs: the vectors of each site, `[R, P, H]` float; other sites are left out.

        Returns:
            The keys and values of the same sites, `[R, N, P, D]`.
        """

        def replace(site: Site, hidden_RPH: Tensor) -> Tensor:
            return inputs[site].to(hidden_RPH.dtype) if site in inputs else hidden_RPH

        rows, length, _ = next(iter(inputs.values())).shape
        nothing = self.embeddings.new_zeros(rows, length, self.shape.embedding_size)
        with self._inputs(replace):
            made = self.keys_and_values(nothing)
        return {site: made[site] for site in inputs}

    @torch.no_grad()
    def layer_inputs(self, embeddings_BTE: Tensor) -> dict[Site, Tensor]:
        """The vectors from which each site's keys and values are made, `[B, T, H]`, for input without padding.

        These are the layer's input or, for a cross-attention, the encoder's states.
        """
        found: dict[Site, Tensor] = {}

        def keep(site: Site, hidden_BTH: Tensor) -> Tensor:
            found[site] = hidden_BTH
            return hidden_BTH

        with self._inputs(keep):
            self.keys_and_values(embeddings_BTE)
        return found

    @contextlib.contextmanager
    def _inputs(self, visit: Visit) -> Iterator[None]:
        with contextlib.ExitStack() as hooks:
            for stack in self._stacks:
                hooks.enter_context(stack.inputs(visit))
            yield

    def fingerprint(self) -> str:
        """The sha256 of all weights; it never changes, since the model is frozen."""
        digest = hashlib.sha256()
        kept = {n: tensor for n, tensor in self.model.state_dict().items() if n not in self._not_in_file}
        for name, tensor in sorted(kept.items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _refuse_what_cannot_work(self) -> None:
        missing = self._reader.missing
        if missing:
            raise BackboneError(
                f"{type(self.model).__name__} takes no {' and no '.join(missing)}, which prompts need. "
                "Choose a model such as BERT, RoBERTa, ModernBERT, GPT-2, Llama, Qwen or Mistral"
            )
