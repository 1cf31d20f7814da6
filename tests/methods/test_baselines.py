"""The baselines: all weights of a copy of the model, and low-rank updates of its layers."""

from __future__ import annotations

from collections.abc import Callable

import peft
import pytest
import torch
from torch import nn
from transformers import DistilBertConfig
from transformers.pytorch_utils import Conv1D

from methods import answers
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Update, concatenate
from methods.backbone.layers import updated
from methods.method import Rows
from methods.parameters import load_state, state, trained_parameters
from tests.methods.building import build, count, on_meta, run, small_config
from tests.methods.conftest import family_language_model, texts


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


def test_training_the_copy_leaves_the_model_as_it_is(bert: Backbone) -> None:
    before = bert.fingerprint()
    method = build("full", bert)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
def test_lora_is_pefts(family: str, dtype: torch.dtype, make_backbone: Callable[[str], Backbone]) -> None:
    """The same weights in a plain peft model give the same hidden states and gradients."""
    backbone = make_backbone(family).copy()
    backbone.model.to(dtype)
    method = build("lora target=all-linear", backbone)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    plain = backbone.copy().model
    plain.config._attn_implementation = "sdpa"
    transposed = isinstance(plain.get_submodule(method.targets[0]), Conv1D)
    config = peft.LoraConfig(
        r=method.config.r,
        lora_alpha=method.config.lora_alpha,
        target_modules=list(method.targets),
        fan_in_fan_out=transposed,
    )
    theirs = peft.get_peft_model(plain, config).eval()
    named = {name: parameter for name, parameter in theirs.named_parameters() if parameter.requires_grad}
    with torch.no_grad():
        for name, tensor in state(method).items():
            named[f"base_model.model.{name.removeprefix('model.')}"].copy_(tensor)
    ids, mask = texts(2, 7)
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    found = run(backbone, method, ids, mask, [0, 1])
    exact = {"rtol": 1e-4, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(found, expected, **exact)
    bare = run(backbone, build("head_only", backbone), ids, mask, [0, 1])
    assert not torch.allclose(found, bare, atol=1e-3)
    if dtype is torch.float32:
        expected.pow(2).mean().backward()
        found.pow(2).mean().backward()
        for name, parameter in method.named_parameters():
            their = named[f"base_model.model.{name.removeprefix('model.')}"].grad
            torch.testing.assert_close(parameter.grad, their, rtol=1e-4, atol=1e-5)
    assert not any(layer._forward_hooks for layer in backbone.model.modules()), "a hook stays behind"


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_lora_of_several_ranks_beside_prompts_is_that_of_each_alone(
    family: str, make_backbone: Callable[[str], Backbone]
) -> None:
    """Rows without an update are those of the frozen model."""
    backbone = make_backbone(family)
    made = [build("lora", backbone, r=2), build("head_only", backbone), build("prompt_tuning", backbone)]
    made.append(build("lora", backbone, r=3))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for method in made:
            for parameter in method.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    ids, mask = texts(8, 7)
    injections = [method(Rows(torch.tensor([0, 1])), backbone) for method in made]
    order = [0, 7, 3, 4, 1, 2, 5, 6]
    together = backbone.forward(ids[order], mask[order], concatenate(injections).of(order))
    for number, injection in enumerate(injections):
        mine = slice(2 * number, 2 * number + 2)
        alone = backbone.forward(ids[mine], mask[mine], injection)
        places = [order.index(row) for row in range(8)[mine]]
        torch.testing.assert_close(together[places], alone, rtol=1e-4, atol=1e-5)


def test_updates_of_layers_that_see_sorted_tokens_say_so(bert: Backbone) -> None:
    update = Update(torch.zeros(2, 1, 3), torch.zeros(2, 4, 1), torch.tensor([0, 1]))
    model = nn.Sequential(nn.Linear(3, 4))
    with updated(model, {"0": update}), pytest.raises(ValueError, match="target: attention"):
        model(torch.zeros(5, 3))


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
    adapted = set(method.targets)
    assert "lm_head" not in adapted
    inside = {"llama": "model.layers.0.mlp.up_proj", "t5": "decoder.block.0.layer.1.EncDecAttention.q"}
    assert inside[family] in adapted
