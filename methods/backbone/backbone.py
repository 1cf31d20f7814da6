"""The frozen Hugging Face model, as a function of text and injection.

Nothing in the model is patched, subclassed or written to: prompts go in as input embeddings, prefixes
through the attention interface (`methods/backbone/attention.py`).
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
from methods.backbone.layers import Visit
from methods.backbone.layout import Started, arrange
from methods.backbone.loading import BackboneError
from methods.backbone.readout import sequence_features
from methods.backbone.shape import shape_of
from methods.backbone.stack import Memory, Stack


class Backbone:
    """A frozen model. Build it by `load`, or by `without_weights` for its shape alone.

    Of an encoder-decoder (T5, BART) it is the encoder: the text goes in there, and heads read what comes out of it. With
    its language model it is both: what is written is read from the decoder, everything else from the encoder.

    Args:
        model: transformers' base model, or its class with a language model's head.
        not_in_file: names of weights that were not in the file, whose values mean nothing.
        language_model: whether it is the latter.
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
        """Loads the model of a hub id or a local folder, from safetensors only.

        Args:
            path: hub id or folder.
            dtype: of the weights.
            device: where they go.
            trust_remote_code: whether code in the folder may be run.
            language_model: with the head that scores the words of the vocabulary, for tasks that read or write them.

        Raises:
            BackboneError: it cannot be loaded, or its attention cannot be reached.
        """
        model, missing = loading.with_weights(path, dtype, trust_remote_code, language_model)
        return cls(model.to(device), missing, language_model=language_model)

    @classmethod
    def without_weights(
        cls, path: str, *, trust_remote_code: bool = False, language_model: bool = False
    ) -> Backbone:
        """The model of a hub id or folder on the meta device: its shape, without reading its weights."""
        model = loading.on_meta(path, trust_remote_code, language_model)
        return cls(model, language_model=language_model)

    def copy(self) -> Backbone:
        """A backbone of its own, for a method that trains it."""
        return Backbone(copy.deepcopy(self.model), self._not_in_file, language_model=self.language_model)

    def attention_modules(self) -> list[nn.Module]:
        """The modules that hold the projections of keys and values, in the order of the forward."""
        return list(self._sites)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def first_written(self) -> int:
        """The token that an encoder-decoder's decoder begins with."""
        found: int | None = self.config.decoder_start_token_id
        if found is None:
            raise BackboneError(
                "the model's config.json has no decoder_start_token_id, which its decoder begins with"
            )
        return found

    @property
    def embeddings(self) -> Tensor:
        """Weights of the input embeddings, `[vocab_size, E]`."""
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
        """Hidden states at the text's positions, or at those of what is written.

        Args:
            ids_BT: `[B, T]` int64, token ids; padding may be on either side (on the right where there
                are sliding windows, which count what lies between a prompt and its text).
            mask_BT: `[B, T]` bool, False at padding.
            injection: of the same B rows.
            types_BT: `[B, T]` int64, 1 at the second text of a pair, for a model that tells the two apart; None: all 0,
                as virtual tokens are.
            written_BU: `[B, U]` int64, for an encoder-decoder that writes: the decoder's tokens after its start token, padded
                on the right, where no other position sees them.

        Returns:
            The last hidden states; those of virtual tokens are cut off. `[B, T, H]`, or `[B, 1 + U, H]` of the decoder.
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
        """Runs text and injection; of an encoder-decoder, through the encoder.

        Args:
            ids_BT, mask_BT, injection, types_BT: see `forward`.
            cache: is filled, so that a decoder can go on by `write`.
        """
        rows, length = ids_BT.shape
        assert injection.rows == rows, f"injection of {injection.rows} rows for a batch of {rows}"
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
        states = self._reader.run(
            embeddings, mask, positions, self._visitor(injection), types_BT=types, cache=cache
        )
        return Started(injection, states, mask, text_BT)

    def write(self, ids_BU: Tensor, started: Started, cache: Cache | None = None) -> Tensor:
        """Hidden states at further tokens of texts that were read, `[B, U, H]`.

        Args:
            ids_BU: `[B, U]` int64. Of an encoder-decoder they begin with its start token.
            started: by `read`. Of a decoder its mask is that of all tokens, these included.
            cache: of the tokens before; an encoder-decoder needs none for its first.
        """
        visitor = self._visitor(started.injection)
        if self._writer is not None:
            before = 0 if cache is None else int(cache.get_seq_length())
            size = (len(ids_BU), before + ids_BU.shape[1])
            mask = torch.ones(size, dtype=torch.bool, device=ids_BU.device)
            positions = (mask.cumsum(1) - 1)[:, before:]
            memory = Memory(started.states_BSH, started.mask_BS)
            embeddings = self._writer.embed(ids_BU)
            return self._writer.run(embeddings, mask, positions, visitor, memory=memory, cache=cache)
        mask = started.mask_BS
        positions = (mask.cumsum(1) - 1)[:, -ids_BU.shape[1] :]
        if started.injection.offset_B is not None:
            positions = positions + started.injection.offset_B[:, None]
        return self._reader.run(self.embed(ids_BU), mask, positions, visitor, cache=cache)

    def _visitor(self, injection: Injection) -> attention.Visitor | None:
        return attention.Prefixes(self._sites, injection.prefixes) if injection.prefixes else None

    @torch.no_grad()
    def features(
        self, ids_BT: Tensor, mask_BT: Tensor, readout: str, types_BT: Tensor | None = None
    ) -> Tensor:
        """What the bare model makes of texts, `[B, H]` float32: the query of methods that look at their input."""
        hidden = self.forward(ids_BT, mask_BT, Injection(rows=len(ids_BT)), types_BT)
        return sequence_features(hidden, mask_BT, readout)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Input embeddings of tokens, `[B, T, E]`."""
        return self._reader.embed(ids_BT)

    def keys_and_values(self, embeddings_BTE: Tensor) -> dict[Site, tuple[Tensor, Tensor]]:
        """Each site's own keys and values, `[B, N, T, D]`, as they enter the attention, for input without padding.

        Those of a prompt, used as prefixes, are the prompt, in a model with `prompts_are_prefixes`. A decoder that writes
        is given the same input as its encoder.
        """
        reader = attention.Reader(self._sites)
        states = self._reader.visit(embeddings_BTE.to(self.embeddings.dtype), reader)
        if self._writer is not None:
            mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
            self._writer.visit(embeddings_BTE.to(states.dtype), reader, Memory(states, mask))
        return reader.keys_and_values

    def project(self, inputs: Mapping[Site, Tensor]) -> dict[Site, tuple[Tensor, Tensor]]:
        """Keys and values that each layer makes of the given vectors, were they its input.

        The vectors take the layer's whole path: its norm where it comes first, its projections, `k_norm` where there
        is one, and the rotation of positions 0 to P - 1; those of a cross-attention the path of the encoder's states. What
        the layer makes of them beside is dropped, so a gradient reaches each vector through its own keys and values alone.

        Args:
            inputs: by site, `[R, P, H]` float; other sites are left out.

        Returns:
            By the same sites, keys and values `[R, N, P, D]`.
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
        """What each site's keys and values are made of, `[B, T, H]`, for input without padding: the input of the layer or,
        of a cross-attention, the encoder's states."""
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
        """sha256 of all weights: equal before and after anything we do."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            if name in self._not_in_file:
                continue
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _refuse_what_cannot_work(self) -> None:
        missing = self._reader.missing
        if missing:
            raise BackboneError(
                f"{type(self.model).__name__} takes no {' and no '.join(missing)}, which prompts need; "
                "choose a model such as BERT, RoBERTa, ModernBERT, GPT-2, Llama, Qwen or Mistral"
            )
