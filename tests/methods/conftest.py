"""Tiny random backbones of every family the methods work on; no weights, no network."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from methods.backbone import attention
from methods.backbone.backbone import Backbone
from tests.methods import building

VOCABULARY = 100
POSITIONS = 64

_SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
}
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2}
_DISTILBERT = {
    "vocab_size": VOCABULARY,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 37,
    "max_position_embeddings": POSITIONS,
}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS}
_OPT = {"ffn_dim": 37, "word_embed_proj_dim": 32}
_DEBERTA = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
}
_T5 = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
_BART = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
}
FAMILIES = {
    "bert": ("BertConfig", _SMALL),
    "distilbert": ("DistilBertConfig", _DISTILBERT),
    "roberta": ("RobertaConfig", {**_SMALL, "pad_token_id": 1, "max_position_embeddings": POSITIONS + 2}),
    "albert": ("AlbertConfig", {**_SMALL, "embedding_size": 16}),
    "electra": ("ElectraConfig", {**_SMALL, "embedding_size": 16}),
    "modernbert": ("ModernBertConfig", {**_SMALL, **_TOKENS, "cls_token_id": 1, "sep_token_id": 2}),
    "gpt2": ("GPT2Config", {**_GPT2, **_TOKENS}),
    "gpt_neox": ("GPTNeoXConfig", {**_SMALL, **_TOKENS}),
    "opt": ("OPTConfig", {**_SMALL, **_TOKENS, **_OPT}),
    "llama": ("LlamaConfig", {**_SMALL, **_TOKENS, "num_key_value_heads": 2}),
    "qwen2": ("Qwen2Config", {**_SMALL, **_TOKENS, "num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", {**_SMALL, **_TOKENS, "num_key_value_heads": 2, "head_dim": 8}),
    "mistral": ("MistralConfig", {**_SMALL, **_TOKENS, "num_key_value_heads": 2, "sliding_window": 4}),
    "mpnet": ("MPNetConfig", {**_SMALL, "pad_token_id": 1, "max_position_embeddings": POSITIONS + 2}),
    "deberta-v2": ("DebertaV2Config", {**_SMALL, **_DEBERTA}),
    "t5": ("T5Config", _T5),
    "bart": ("BartConfig", {**_TOKENS, **_BART}),
    "gemma": ("GemmaConfig", {**_SMALL, **_TOKENS, "num_key_value_heads": 1, "head_dim": 8}),
}


def family_config(family: str) -> transformers.PretrainedConfig:
    name, arguments = FAMILIES[family]
    return getattr(transformers, name)(**arguments)


@functools.cache
def family_language_model(family: str) -> torch.nn.Module:
    """The tiny model of a family with its head for words; shared, since nothing writes to it."""
    config = family_config(family)
    config.pad_token_id, config.decoder_start_token_id = 0, 1
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return _random(lambda: auto.from_config(config, attn_implementation=attention.IMPLEMENTATION))


@functools.cache
def family_model(family: str) -> torch.nn.Module:
    """The tiny model of a family; shared, since nothing writes to it."""
    config = family_config(family)
    return _random(lambda: AutoModel.from_config(config, attn_implementation=attention.IMPLEMENTATION))


def _random(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
        with torch.no_grad():  # the usual start is so small that nothing would depend on anything
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.2)
    return model


@pytest.fixture
def make_backbone() -> Callable[[str], Backbone]:
    """Builds the tiny backbone of a family."""
    return lambda family: Backbone(family_model(family))


@pytest.fixture(params=sorted(FAMILIES))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """The tiny backbone of each family."""
    return Backbone(family_model(request.param))


@pytest.fixture(params=building.cases())
def case(request: pytest.FixtureRequest) -> str:
    """Each method, with each value of the choices that shape it."""
    return str(request.param)


@pytest.fixture
def bert() -> Backbone:
    """A tiny BERT."""
    return Backbone(family_model("bert"))


def texts(rows: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random token ids `[rows, length]` without special tokens, and a mask without padding."""
    generator = torch.Generator().manual_seed(seed)
    ids_BT = torch.randint(5, VOCABULARY, (rows, length), generator=generator)
    return ids_BT, torch.ones_like(ids_BT, dtype=torch.bool)
