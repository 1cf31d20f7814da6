"""Texts are written with the injection in place, as one forward after another without a cache would write them."""

from __future__ import annotations

import pytest
import torch

from methods import answers
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.heads import heads
from methods.heads.generation import greedy
from methods.method import Rows
from tests.methods.building import build
from tests.methods.conftest import family_language_model, texts

DECODERS = ("gpt2", "gpt_neox", "opt", "llama", "mistral", "qwen2", "qwen3", "gemma")
FAMILIES = (*DECODERS, "t5", "bart")
METHODS = ("prompt_tuning", "prefix_tuning", "p_tuning_v2")
END = 2


@pytest.fixture(params=FAMILIES)
def writer(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(family_language_model(request.param), language_model=True)


def head(backbone: Backbone) -> heads.Head:
    return answers.get("text").head("mean", (), {}, backbone)


def next_logits(
    backbone: Backbone, ids_1T: torch.Tensor, injection: Injection, written: list[int]
) -> torch.Tensor:
    """Logits `[V]` of the next token, from the whole text at once."""
    before = torch.tensor([written], dtype=torch.long)
    if backbone.shape.architecture == "decoder":
        ids_1T = torch.cat([ids_1T, before], dim=1)
        hidden = backbone.forward(ids_1T, torch.ones_like(ids_1T, dtype=torch.bool), injection)
    else:
        hidden = backbone.forward(
            ids_1T, torch.ones_like(ids_1T, dtype=torch.bool), injection, written_BU=before
        )
    everywhere = torch.ones(hidden.shape[:2], dtype=torch.bool)
    logits: torch.Tensor = head(backbone)(hidden, everywhere, everywhere)
    return logits[-1]


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_a_padded_batch_with_a_cache_writes_what_a_row_alone_without_one_does(
    writer: Backbone, method: str
) -> None:
    module = build(method, writer)
    ids, mask = texts(3, 7)
    mask[1, 4:], mask[2, 6:] = False, False
    tasks = torch.tensor([0, 1, 0])
    found = greedy(writer, head(writer), ids, mask, module(Rows(tasks), writer), end=END, max_new_tokens=6)
    plain = greedy(writer, head(writer), ids, mask, Injection(3), end=END, max_new_tokens=6)
    if not (writer.shape.sliding_window and method == "prompt_tuning"):  # its window of 4 hides the prompt
        assert found != plain, "the injection changes nothing"
    for row, tokens in enumerate(found):
        own_1T = ids[row : row + 1, : int(mask[row].sum())]
        injection = module(Rows(tasks[row : row + 1]), writer)
        for count, token in enumerate(tokens):
            logits = next_logits(writer, own_1T, injection, tokens[:count])
            assert logits[token] >= logits.max() - 1e-4
        if len(tokens) < 6:
            logits = next_logits(writer, own_1T, injection, tokens)
            assert logits[END] >= logits.max() - 1e-4


@torch.no_grad()
def test_words_are_scored_as_by_the_models_own_class(writer: Backbone) -> None:
    ids, mask = texts(2, 6)
    whole = family_language_model(writer.config.model_type)
    if writer.shape.architecture == "decoder":
        hidden, places = writer.forward(ids, mask, Injection(2)), mask
        expected = whole(input_ids=ids, attention_mask=mask.long()).logits
    else:
        start = torch.full((2, 1), writer.first_written)
        hidden = writer.forward(ids, mask, Injection(2), written_BU=ids[:, :3])
        places = torch.ones(2, 4, dtype=torch.bool)
        decoder_ids = torch.cat([start, ids[:, :3]], dim=1)
        expected = whole(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=decoder_ids).logits
    found = head(writer)(hidden, places, places)
    torch.testing.assert_close(found, expected.flatten(0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_gets_a_gradient_from_what_is_written(writer: Backbone, method: str) -> None:
    """In T5 and BART: of the encoder, the decoder and the cross-attention."""
    module = build(method, writer)
    ids, mask = texts(2, 6)
    written = None if writer.shape.architecture == "decoder" else ids[:, :4]
    hidden = writer.forward(ids, mask, module(Rows(torch.tensor([0, 1])), writer), written_BU=written)
    places = torch.ones(hidden.shape[:2], dtype=torch.bool)
    logits = head(writer)(hidden, places, places)
    gradients = torch.autograd.grad(logits.pow(2).sum(), list(module.parameters()))
    for gradient in gradients:
        assert (gradient.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoder_has_sites_in_three_places(family: str) -> None:
    backbone = Backbone(family_language_model(family), language_model=True)
    assert [tuple(site) for site in backbone.shape.sites] == [
        ("encoder", "self", 0),
        ("encoder", "self", 1),
        ("decoder", "self", 0),
        ("decoder", "cross", 0),
        ("decoder", "self", 1),
        ("decoder", "cross", 1),
    ]


def test_a_copy_writes_with_weights_of_its_own() -> None:
    backbone = Backbone(family_language_model("llama"), language_model=True)
    copy = backbone.copy()
    assert copy.fingerprint() == backbone.fingerprint()
    ids, mask = texts(1, 5)
    before = head(backbone)(backbone.forward(ids, mask, Injection(1)), mask, mask)
    with torch.no_grad():
        copy.model.lm_head.weight.zero_()
    assert head(copy)(copy.forward(ids, mask, Injection(1)), mask, mask).abs().sum() == 0
    after = head(backbone)(backbone.forward(ids, mask, Injection(1)), mask, mask)
    assert torch.equal(before, after)
