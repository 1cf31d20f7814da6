"""What is particular to each method: its counts, its start, its formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig, DistilBertConfig, GPT2Config

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, Prefix, Prompt, Site, full_mask
from methods.method import Rows
from tests.methods.building import EXAMPLES, build, count, on_meta, small_config, start
from tests.methods.conftest import texts


@pytest.fixture(scope="module")
def distilbert() -> Backbone:
    """DistilBERT-base on the meta device: shapes, no weights."""
    return on_meta(DistilBertConfig())


def test_prompt_tuning_counts(distilbert: Backbone) -> None:
    assert count("prompt_tuning", distilbert, num_virtual_tokens=5) == (3840, 3840)
    assert count("prompt_tuning", distilbert, tasks=3, num_virtual_tokens=20) == (3 * 20 * 768, 3 * 20 * 768)


def test_p_tuning_v2_counts_keys_and_values(distilbert: Backbone) -> None:
    assert count("p_tuning_v2", distilbert, num_virtual_tokens=10) == (2 * 46_080, 2 * 46_080)
    bert = on_meta(BertConfig())
    assert count("p_tuning_v2", bert, num_virtual_tokens=20) == (2 * 184_320, 2 * 184_320)
    assert count("prompt_tuning", bert, num_virtual_tokens=20) == (15_360, 15_360)


def test_grouped_query_heads_need_fewer_parameters(make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("llama")  # 2 layers, 2 key/value heads of width 8
    assert count("p_tuning_v2", backbone, num_virtual_tokens=3)[0] == 2 * 2 * 2 * 3 * 8


def test_head_only_counts_nothing(distilbert: Backbone) -> None:
    assert count("head_only", distilbert) == (0, 0)


def test_a_vocabulary_start_is_made_of_embeddings(bert: Backbone) -> None:
    prompt = build("prompt_tuning", bert).prompt[0]
    assert (prompt[:, None] == bert.embeddings).all(-1).any(1).all()


def test_a_label_start_begins_with_the_label_words(bert: Backbone) -> None:
    module = methods.get("prompt_tuning")
    method = module.Method(small_config("prompt_tuning", init="labels"), bert, 2)
    method.initialize(start(bert, label_ids=[[11, 12], [13]]))
    torch.testing.assert_close(method.prompt[0, :3].detach(), bert.embeddings[[11, 12, 13]])


def test_a_normal_start_has_the_scale_of_the_embeddings(bert: Backbone) -> None:
    module = methods.get("prompt_tuning")
    config = module.Config(num_virtual_tokens=2000, init="normal")
    method = module.Method(config, bert, 2)
    method.initialize(start(bert))
    assert method.prompt.std().item() == pytest.approx(bert.embeddings.std().item(), rel=0.1)


def test_a_prompt_is_text_whose_tokens_it_copies(make_backbone: Callable[[str], Backbone]) -> None:
    """A prompt of the embeddings of real tokens gives what those tokens in front of the text give."""
    for family in ("bert", "roberta", "gpt2", "llama", "opt"):
        backbone = make_backbone(family)
        ids, mask = texts(2, 9)
        whole = backbone.forward(ids, mask, Injection(2))
        prompt = Prompt(backbone.embeddings[ids[:, :4]], full_mask(2, 4, ids.device))
        injection = Injection(2, prompt=prompt)
        split = backbone.forward(ids[:, 4:], mask[:, 4:], injection)
        torch.testing.assert_close(split, whole[:, 4:], rtol=1e-4, atol=1e-5)


def test_prefixes_start_with_each_layers_own_scale(make_backbone: Callable[[str], Backbone]) -> None:
    for family in ("bert", "llama", "albert"):
        backbone = make_backbone(family)
        method = build("p_tuning_v2", backbone, num_virtual_tokens=200)
        own = backbone.keys_and_values(
            backbone.embed(torch.randint(0, 100, (1, 64), generator=torch.Generator().manual_seed(9)))
        )
        assert list(own) == list(backbone.shape.sites)
        for index, site in enumerate(own):
            for table, (whose, values) in zip(
                (method.key[index], method.value[index]), zip("KV", own[site], strict=True), strict=True
            ):
                assert table.std().item() == pytest.approx(values.std().item(), rel=0.35), (
                    family,
                    site,
                    whose,
                )


def test_a_prefix_of_a_texts_keys_and_values_is_that_text(make_backbone: Callable[[str], Backbone]) -> None:
    """In a causal model, the keys and values of the text's beginning give the rest what the beginning gave."""
    for family in ("gpt2", "llama", "qwen3", "gpt_neox", "gemma", "opt"):
        backbone = make_backbone(family)
        ids, mask = texts(2, 9)
        whole = backbone.forward(ids, mask, Injection(2))
        prefixes = {
            site: Prefix(key, value, full_mask(2, 4, ids.device))
            for site, (key, value) in backbone.keys_and_values(backbone.embed(ids[:, :4])).items()
        }
        rest = backbone.forward(
            ids[:, 4:], mask[:, 4:], Injection(2, prefixes=prefixes, offset_B=torch.tensor([4, 4]))
        )
        torch.testing.assert_close(rest, whole[:, 4:], rtol=1e-4, atol=1e-5)


def test_dropout_is_of_training_only_and_of_the_trials_own_generator(bert: Backbone) -> None:
    module = methods.get("p_tuning_v2")

    def prefix(seed: int, training: bool) -> torch.Tensor:
        method = module.Method(small_config("p_tuning_v2", dropout=0.5), bert, 1)
        method.initialize(start(bert, seed))
        return (
            method.train(training)(Rows(torch.tensor([0])), bert)
            .prefixes[Site("encoder", "self", 0)]
            .key_BNPD
        )

    assert (prefix(0, training=True) == 0).float().mean().item() == pytest.approx(0.5, abs=0.2)
    assert (prefix(0, training=False) != 0).all()
    torch.random.manual_seed(1)
    first = prefix(0, training=True)
    torch.random.manual_seed(2)
    assert torch.equal(first, prefix(0, training=True))


def test_shifted_positions_need_room(bert: Backbone) -> None:
    config = small_config("p_tuning_v2", num_virtual_tokens=60, shift_positions=True)
    (problem,) = config.problems(bert.shape, max_length=10)
    assert "num_virtual_tokens must be at most 54, not 60" in problem


def test_a_prompt_too_long_says_what_is_left(bert: Backbone) -> None:
    (problem,) = small_config("prompt_tuning", num_virtual_tokens=60).problems(bert.shape, max_length=10)
    assert problem == (
        "num_virtual_tokens must be at most 54, not 60: the model has 64 positions, and model.max_length takes 10 of them"
    )


def test_a_text_start_has_the_texts_own_keys_and_values(bert: Backbone) -> None:
    method = build("p_tuning_v2", bert, init="text", init_text="cat")
    own = bert.keys_and_values(bert.embed(torch.tensor([[12, 10, 29]])))
    for index, site in enumerate(own):
        torch.testing.assert_close(method.key[index][1, :, :3].detach(), own[site][0][0])
        torch.testing.assert_close(method.value[index][1, :, :3].detach(), own[site][1][0])
    (problem,) = small_config("p_tuning_v2", init="text").problems(bert.shape, 10)
    assert problem == "init_text must be given if init is text"


@pytest.mark.parametrize("task", [0, 1])
def test_a_start_from_examples_has_the_keys_and_values_of_training_texts(task: int, bert: Backbone) -> None:
    """Rows follow one another until there are as many tokens as the prompt has."""
    ids = (EXAMPLES[task] * 2)[:5]
    own = bert.keys_and_values(bert.embed(torch.tensor([ids])))
    method = build("p_tuning_v2", bert, init="examples")
    vectors = build("prefix_tuning", bert, init="examples")
    inputs = bert.layer_inputs(bert.embed(torch.tensor([ids])))
    for index, site in enumerate(own):
        torch.testing.assert_close(method.key[index][task].detach(), own[site][0][0])
        torch.testing.assert_close(method.value[index][task].detach(), own[site][1][0])
        torch.testing.assert_close(vectors.hidden[index, task].detach(), inputs[site][0])


def test_a_start_at_zero_leaves_the_virtual_tokens_different(bert: Backbone) -> None:
    method, matched = build("p_tuning_v2", bert, init="zero"), build("p_tuning_v2", bert)
    for key, other, value in zip(method.key, matched.key, method.value, strict=True):
        assert torch.equal(key, other)
        assert not value.any()


def test_a_model_with_few_positions_takes_fewer_tokens_of_examples(bert: Backbone) -> None:
    method = build("p_tuning_v2", bert, num_virtual_tokens=80, init="examples")
    assert torch.isfinite(method.key[0]).all()
    assert bert.shape.max_positions == 64


def test_gpt2_counts_as_the_playbook_does() -> None:
    gpt2 = on_meta(GPT2Config())
    assert count("prompt_tuning", gpt2, num_virtual_tokens=20) == (15_360, 15_360)
    assert count("prefix_tuning", gpt2, num_virtual_tokens=20) == (184_320, 184_320)
    assert count("prompt_pool", gpt2, num_virtual_tokens=20, pool_size=10) == (161_280, 161_280)
