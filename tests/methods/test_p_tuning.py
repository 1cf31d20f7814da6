"""P-tuning: its encoder, its start, its counts."""

from __future__ import annotations

import pytest
import torch
from transformers import DistilBertConfig

from methods.backbone.backbone import Backbone
from tests.methods.building import build, count, on_meta, small_config


def test_counts() -> None:
    distilbert = on_meta(DistilBertConfig())
    prompt, width = 20 * 768, 768
    mlp = 3 * (width * width + width)
    lstm = 2 * (4 * 384 * (768 + 384) + 8 * 384) + 2 * (4 * 384 * (768 + 384) + 8 * 384)
    assert count("p_tuning", distilbert, encoder="mlp") == (prompt + mlp, prompt)
    assert count("p_tuning", distilbert, encoder="lstm") == (
        prompt + lstm + 2 * (width * width + width),
        prompt,
    )
    narrow = 768 * 64 + 64 + 64 * 64 + 64 + 64 * 768 + 768
    assert count("p_tuning", distilbert, encoder="mlp", encoder_width=64) == (prompt + narrow, prompt)


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
def test_the_prompt_starts_in_the_scale_of_the_embeddings(encoder: str, bert: Backbone) -> None:
    made = build("p_tuning", bert, num_virtual_tokens=50, encoder=encoder).prompt()
    assert made.std().item() == pytest.approx(bert.embeddings.std().item(), rel=0.3)


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
def test_one_virtual_token_is_enough(encoder: str, bert: Backbone) -> None:
    assert build("p_tuning", bert, num_virtual_tokens=1, encoder=encoder).prompt().isfinite().all()


def test_the_lstm_ties_virtual_tokens_together_and_the_mlp_does_not(bert: Backbone) -> None:
    for encoder, tied in (("lstm", True), ("mlp", False)):
        method = build("p_tuning", bert, encoder=encoder)
        (gradient,) = torch.autograd.grad(method.prompt()[0, 0].pow(2).sum(), method.embedding)
        assert gradient[0, 0].any()
        assert bool(gradient[0, 1:].any()) == tied
        assert not gradient[1].any(), "tasks share the encoder, not the embedding"


def test_it_is_deployed_as_a_prompt(bert: Backbone) -> None:
    method = build("p_tuning", bert, placement="around")
    form = method.deployed(bert)
    assert type(form).__module__ == "methods.prompt_tuning"
    assert form.config.placement == "around"
    torch.testing.assert_close(form.prompt, method.prompt())


@pytest.mark.parametrize("width", [-2, 3])
def test_an_odd_width_is_refused(width: int, bert: Backbone) -> None:
    (problem,) = small_config("p_tuning", encoder_width=width).problems(bert.shape, 10)
    assert problem == f"encoder_width must be 0, or even and at least 2, not {width}"
