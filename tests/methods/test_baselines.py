"""The baselines that train a copy of the model."""

from __future__ import annotations

from collections.abc import Callable

import peft
import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers import DistilBertConfig

from methods import answers
from methods.backbone.backbone import Backbone
from methods.parameters import load_state, state, trained_parameters
from tests.methods.building import build, count, on_meta, run, small_config
from tests.methods.conftest import family_language_model, family_model, texts


def test_full_counts_every_weight() -> None:
    distilbert = on_meta(DistilBertConfig())
    head = answers.get("label").head("model", "ab", {}, distilbert)
    trained, deployed = count("full", distilbert)
    assert trained == deployed == 66_362_880
    assert trained + trained_parameters(head) == 66_955_010


def test_lora_counts_its_adapter() -> None:
    distilbert = on_meta(DistilBertConfig())
    assert count("lora", distilbert, r=8) == (6 * 4 * 8 * 2 * 768,) * 2, "q, k, v and out of 6 layers"
    feed_forward = 6 * 2 * 8 * (768 + 3072)
    assert count("lora", distilbert, r=8, target="all-linear") == (6 * 4 * 8 * 2 * 768 + feed_forward,) * 2


@pytest.mark.parametrize("name", ["full", "lora"])
def test_training_the_copy_leaves_the_model_as_it_is(name: str, bert: Backbone) -> None:
    before = bert.fingerprint()
    method = build(name, bert)
    ids, mask = texts(2, 6)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        run(bert, method, ids, mask, [0, 1]).pow(2).mean().backward()
        optimizer.step()
    assert bert.fingerprint() == before
    assert method.own_backbone.fingerprint() != before
    assert all(parameter.grad is None for parameter in bert.model.parameters())


@pytest.mark.parametrize("name", ["full", "lora"])
def test_a_trained_state_loads(name: str, bert: Backbone) -> None:
    method = build(name, bert)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    loaded = type(method)(small_config(name), bert, 2).eval()
    load_state(loaded, state(method))
    ids, mask = texts(2, 6)
    assert torch.equal(run(bert, loaded, ids, mask, [0, 1]), run(bert, method, ids, mask, [0, 1]))


def test_lora_keeps_its_adapter_alone(bert: Backbone) -> None:
    assert all("lora_" in name for name in state(build("lora", bert)))


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
def test_lora_is_pefts(family: str, make_backbone: Callable[[str], Backbone]) -> None:
    """The same weights in a plain peft model give the same hidden states."""
    backbone = make_backbone(family)
    method = build("lora target=all-linear", backbone)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    plain = backbone.copy().model
    plain.config._attn_implementation = "sdpa"
    theirs = peft.get_peft_model(plain, method.adapter).eval()
    named = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, tensor in state(method).items():
            named[f"base_model.model.{name.removeprefix('model.')}"].copy_(tensor)
    ids, mask = texts(2, 7)
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    found = run(backbone, method, ids, mask, [0, 1])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    bare = run(backbone, build("head_only", backbone), ids, mask, [0, 1])
    assert not torch.allclose(found, bare, atol=1e-3)
    assert not any("lora" in name for name, _ in family_model(family).named_modules())


def test_a_rank_of_zero_is_refused(bert: Backbone) -> None:
    (problem,) = small_config("lora", r=0).problems(bert.shape, 10)
    assert problem == "r must be at least 1, not 0"


def test_attention_out_of_reach_needs_all_linear_layers(make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("mpnet")
    (problem,) = small_config("lora").problems(backbone.shape, 10)
    assert problem.startswith("target must be all-linear")
    assert small_config("lora", target="all-linear").problems(backbone.shape, 10) == []


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_lora_of_every_layer_leaves_the_scores_of_the_vocabulary_alone(family: str) -> None:
    backbone = Backbone(family_language_model(family), language_model=True)
    method = build("lora target=all-linear", backbone)
    adapted = {name for name, layer in method.model.named_modules() if isinstance(layer, LoraLayer)}
    assert "lm_head" not in adapted
    inside = {"llama": "model.layers.0.mlp.up_proj", "t5": "decoder.block.0.layer.1.EncDecAttention.q"}
    assert inside[family] in adapted
