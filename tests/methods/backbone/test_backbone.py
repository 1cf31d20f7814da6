"""The backbone: injections that do nothing do nothing, and what cannot work is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig, ViTConfig, ViTModel

from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, Prefix, Prompt
from methods.backbone.loading import BackboneError
from tests.methods.building import small_config
from tests.methods.conftest import family_config, family_model, texts


def test_without_injection_it_is_the_model(backbone: Backbone) -> None:
    ids, mask = texts(2, 7)
    mask[1, 4:] = False
    plain = AutoModel.from_config(copy.deepcopy(backbone.config), attn_implementation="eager").eval()
    plain = plain.get_encoder() if backbone.config.is_encoder_decoder else plain
    plain.load_state_dict(backbone.model.state_dict())
    expected = plain(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    found = backbone.forward(ids, mask, Injection(2))
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-4, atol=1e-5)


def test_a_masked_injection_is_no_injection(backbone: Backbone) -> None:
    ids, mask = texts(2, 7)
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    prompt = Prompt(torch.randn(2, 3, backbone.shape.embedding_size), nothing, nothing.long())
    prefixes = {
        site: Prefix(torch.randn(2, at.heads, 3, at.width), torch.randn(2, at.heads, 3, at.width), nothing)
        for site, at in backbone.shape.sites.items()
    }
    bare = backbone.forward(ids, mask, Injection(2))
    masked = backbone.forward(ids, mask, Injection(2, prompt=prompt, prefixes=prefixes))
    torch.testing.assert_close(masked, bare, rtol=1e-4, atol=1e-5)


def test_a_prefix_is_seen_through_a_sliding_window(make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("mistral")  # a window of 4 tokens
    ids, mask = texts(1, 12)

    def last(scale: float) -> torch.Tensor:
        seen = torch.ones(1, 2, dtype=torch.bool)
        prefixes = {
            site: Prefix(
                torch.ones(1, at.heads, 2, at.width), torch.full((1, at.heads, 2, at.width), scale), seen
            )
            for site, at in backbone.shape.sites.items()
        }
        return backbone.forward(ids, mask, Injection(1, prefixes=prefixes))[:, -1]

    assert not torch.allclose(last(0.0), last(1.0))


def test_a_decoder_does_not_see_the_future(make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("llama")
    ids, mask = texts(1, 8)
    seen = torch.ones(1, 2, dtype=torch.bool)
    prefixes = {
        site: Prefix(torch.randn(1, at.heads, 2, at.width), torch.randn(1, at.heads, 2, at.width), seen)
        for site, at in backbone.shape.sites.items()
    }
    whole = backbone.forward(ids, mask, Injection(1, prefixes=prefixes))
    part = backbone.forward(ids[:, :5], mask[:, :5], Injection(1, prefixes=prefixes))
    torch.testing.assert_close(whole[:, :5], part, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "expected"), [("bert", False), ("gpt2", True), ("llama", True), ("modernbert", False)]
)
def test_it_knows_whether_it_is_causal(
    family: str, expected: bool, make_backbone: Callable[[str], Backbone]
) -> None:
    assert make_backbone(family).shape.causal is expected


def test_layers_that_share_a_module_are_sites_of_their_own(make_backbone: Callable[[str], Backbone]) -> None:
    assert len(make_backbone("albert").shape.sites) == 2


def test_the_shape_is_known_without_weights(backbone: Backbone, tmp_path: Path) -> None:
    backbone.config.save_pretrained(tmp_path)
    assert Backbone.without_weights(str(tmp_path)).shape == backbone.shape


def test_it_loads_what_was_saved(bert: Backbone, tmp_path: Path) -> None:
    bert.model.save_pretrained(tmp_path)
    assert Backbone.load(str(tmp_path)).fingerprint() == bert.fingerprint()


def test_weights_in_a_pickle_are_refused(tmp_path: Path) -> None:
    model = AutoModel.from_config(family_config("bert"))
    BertConfig.save_pretrained(model.config, tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="safetensors"):
        Backbone.load(str(tmp_path))


def test_a_missing_model_is_named() -> None:
    with pytest.raises(BackboneError, match="no/such/model"):
        Backbone.load("/no/such/model")


def test_of_an_encoder_decoder_the_encoder_is_the_backbone(make_backbone: Callable[[str], Backbone]) -> None:
    for family in ("t5", "bart"):
        backbone = make_backbone(family)
        whole = family_model(family)
        assert backbone.model is whole.get_encoder()
        assert 0 < backbone.shape.parameters < sum(p.numel() for p in whole.parameters())
        assert not backbone.shape.causal
        assert not backbone.shape.model_head


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2"])
def test_models_with_an_attention_of_their_own_take_prompts_alone(
    family: str, make_backbone: Callable[[str], Backbone]
) -> None:
    backbone = make_backbone(family)
    assert backbone.shape.sites == {}
    for case in ("p_tuning_v2", "prefix_tuning"):
        (problem,) = small_config(case).problems(backbone.shape, 10)
        assert "prefixes cannot be put into this model" in problem
        assert "choose a model such as BERT" in problem
    assert small_config("prompt_tuning").problems(backbone.shape, 10) == []


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_model_that_counts_positions_itself_cannot_shift_the_text(
    family: str, make_backbone: Callable[[str], Backbone]
) -> None:
    (problem,) = small_config("p_tuning_v2", shift_positions=True).problems(make_backbone(family).shape, 10)
    assert problem.startswith("shift_positions must be false")


def test_a_model_without_input_embeddings_is_refused() -> None:
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    with pytest.raises(BackboneError, match="takes no"):
        Backbone(ViTModel(config))
