"""Loads models from the hub or from folders: only safetensors, and no foreign code unless allowed."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
)

from methods.backbone import attention


class BackboneError(ValueError):
    """The model cannot be loaded, or prompts cannot be put into it; the message says why and what would work."""


def with_weights(
    path: str, dtype: torch.dtype, trust_remote_code: bool, language_model: bool
) -> tuple[Any, frozenset[str]]:
    """Loads a model; also returns the names of weights that are not in its file.

    Raises:
        BackboneError: the model cannot be loaded.
    """
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        model, info = _class(config, language_model).from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=attention.IMPLEMENTATION,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, ImportError) as error:
        raise BackboneError(f"cannot load the model {path!r}: {error}") from error
    # A pooler that is not in the file gets random values at each load, so it is not used.
    missing = frozenset(info["missing_keys"])
    if lost := sorted(name for name in missing if not name.startswith("pooler.")):
        raise BackboneError(
            f"the weights file of {path!r} lacks {len(lost)} tensors of the model, such as {lost[0]}"
        )
    return model, missing


def on_meta(path: str, trust_remote_code: bool, language_model: bool) -> Any:
    """Makes a model without weights, on the meta device.

    Raises:
        BackboneError: the model's configuration cannot be read.
    """
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            return _class(config, language_model).from_config(
                config,
                attn_implementation=attention.IMPLEMENTATION,
                trust_remote_code=trust_remote_code,
            )
    except (OSError, ValueError, ImportError) as error:
        raise BackboneError(f"cannot read the configuration of the model {path!r}: {error}") from error


def _class(config: Any, language_model: bool) -> Any:
    """The auto class that loads the model."""
    if not language_model:
        return AutoModel
    if config.is_encoder_decoder:
        return AutoModelForSeq2SeqLM
    return AutoModelForMaskedLM if type(config) in MODEL_FOR_MASKED_LM_MAPPING else AutoModelForCausalLM
