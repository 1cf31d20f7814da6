"""What a method has to know of a backbone to build its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForSequenceClassification

from methods.backbone.attention import SiteShape
from methods.backbone.injection import Site
from methods.backbone.stack import Stack

Architecture = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True)
class Shape:
    """What a method has to know of a backbone to build its parameters.

    Attributes:
        architecture: what it is, whichever part of it is used.
        hidden_size: H, width of the hidden states.
        embedding_size: E, width of the input embeddings (less than H in ALBERT and ELECTRA).
        vocab_size: rows of the input embeddings.
        sites: where keys and values can be prepended, in the order of the forward; none where the model's attention is
            its own (DeBERTa, MPNet).
        layers: L, the number of layers.
        heads: attention heads of a layer.
        max_positions: tokens the position embeddings leave, or None where there is no limit.
        shifts_text: whether the text can start at another position than 0.
        sliding_window: whether some layers see only the tokens close by.
        parameters: scalars of the frozen model.
        model_head: whether the model's class for classification can be the head (`readout: model`).
    """

    architecture: Architecture
    hidden_size: int
    embedding_size: int
    vocab_size: int
    sites: dict[Site, SiteShape]
    layers: int
    heads: int
    max_positions: int | None
    shifts_text: bool
    sliding_window: bool
    parameters: int
    model_head: bool

    @property
    def causal(self) -> bool:
        """Whether a position of the text sees only those before it."""
        return self.architecture == "decoder"

    @property
    def prompts_are_prefixes(self) -> bool:
        """Whether a prompt in front of the text is the same as its keys and values: the model is causal, and no sliding
        window hides the prompt from the end of the text."""
        return self.causal and not self.sliding_window


def has_sliding_window(config: Any) -> bool:
    """Whether some layers of a model (by its configuration) see only the tokens close by."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any("sliding" in kind for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def has_model_head(config: Any, pooler: bool) -> bool:
    """Whether transformers has a class for sequence classification of this kind of model, and it works.

    Args:
        config: the model's.
        pooler: whether the model's pooler, if it has one, has weights; some classes read it, some do not.
    """
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING or config.is_encoder_decoder:
        return False
    if pooler:
        return True
    with torch.device("meta"):
        whole: Any = AutoModelForSequenceClassification.from_config(config)
    return getattr(whole.base_model, "pooler", None) is None


def shape_of(model: Any, config: Any, stacks: Sequence[Stack], *, pooler: bool) -> Shape:
    """The shape of a model.

    Args:
        model: transformers', or the encoder of an encoder-decoder.
        config: of the whole model.
        stacks: its transformers, first the one that reads the text.
        pooler: whether the model's pooler, if it has one, has weights.
    """
    reader, text = stacks[0], config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    two = bool(getattr(config, "is_encoder_decoder", False))
    vocabulary, width = model.get_input_embeddings().weight.shape
    return Shape(
        architecture="encoder-decoder" if two else "decoder" if reader.causal else "encoder",
        hidden_size=text.hidden_size,
        embedding_size=width,
        vocab_size=vocabulary,
        sites={site: shape for stack in stacks for site, shape in stack.shapes.items()},
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        max_positions=None if limit is None else limit - reader.first_position,
        shifts_text=reader.takes_positions,
        sliding_window=has_sliding_window(text),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        model_head=has_model_head(config, pooler=pooler),
    )
