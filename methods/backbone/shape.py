"""The shape of a backbone: what a method must know to build its parameters."""

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
    """What a method must know about a backbone to build its parameters.

    Attributes:
        architecture: the architecture of the whole model, even if only its encoder is used.
        hidden_size: H, width of the hidden states.
        embedding_size: E, width of the input embeddings (less than H in ALBERT and ELECTRA).
        vocab_size: number of rows of the input embeddings.
        sites: where keys and values can be prepended, in the order of the forward; empty if the model does not use
            transformers' attention interface (DeBERTa, MPNet).
        layers: L, number of layers.
        heads: number of attention heads in a layer.
        max_positions: the most tokens that the position embeddings allow; None if there is no limit.
        shifts_text: whether the text can start at another position than 0.
        sliding_window: whether some layers see only nearby tokens.
        parameters: number of scalars of the frozen model.
        model_head: whether the head of the model's classification class can be used (`readout: model`).
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
        """Whether a position of the text sees only itself and earlier ones."""
        return self.architecture == "decoder"

    @property
    def prompts_are_prefixes(self) -> bool:
        """Whether a prompt in front of the text can be replaced by its keys and values.

        This needs a causal model without a sliding window, which could hide the prompt from the end of the text.
        """
        return self.causal and not self.sliding_window


def has_sliding_window(config: Any) -> bool:
    """Whether some layers see only nearby tokens, by the model's configuration."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any("sliding" in kind for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def has_model_head(config: Any, pooler: bool) -> bool:
    """Whether transformers has a sequence-classification class for the model that can be used.

    Args:
        config: the model's configuration.
        pooler: whether the weights of the pooler, if any, are in the file; some classes read it.
    """
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING or config.is_encoder_decoder:
        return False
    if pooler:
        return True
    with torch.device("meta"):
        whole: Any = AutoModelForSequenceClassification.from_config(config)
    return getattr(whole.base_model, "pooler", None) is None


def shape_of(model: Any, config: Any, stacks: Sequence[Stack], *, pooler: bool) -> Shape:
    """Makes the shape of a model.

    Args:
        model: transformers' model, or the encoder of an encoder-decoder.
        config: the configuration of the whole model.
        stacks: the model's stacks, first the one that reads the text.
        pooler: whether the weights of the pooler, if any, are in the file.
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
