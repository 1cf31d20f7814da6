"""Heads read the text, and nothing but the text, where their task does."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForSequenceClassification, DistilBertConfig, RobertaConfig

from methods import answers
from methods.backbone import shape
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.heads import heads
from methods.parameters import state, trained_parameters
from tests.methods.building import build, on_meta, run, small_config
from tests.methods.conftest import FAMILIES, family_config, texts

# Families whose class reads [CLS] or a pooler; those of decoders read the last token.
WITH_CLASS = sorted(set(FAMILIES) - {"t5", "bart"})


def model_head(backbone: Backbone, outputs: int = 3, seed: int = 0) -> heads.Head:
    head = answers.get("label").head("model", "abcdefgh"[:outputs], {}, backbone)
    head.initialize(torch.Generator().manual_seed(seed))
    return head


@pytest.mark.parametrize("family", WITH_CLASS)
def test_a_models_own_head_gives_what_its_class_gives(
    family: str, make_backbone: Callable[[str], Backbone]
) -> None:
    """Without an injection: transformers' own class, with the same weights, on the same padded texts."""
    backbone = make_backbone(family)
    config = copy.deepcopy(family_config(family))
    config.num_labels = 3
    config.pad_token_id = config.pad_token_id or 0
    whole = AutoModelForSequenceClassification.from_config(config).eval()
    head = model_head(backbone)
    whole.base_model.load_state_dict(backbone.model.state_dict(), strict=False)
    own = {name.removeprefix("head."): tensor for name, tensor in state(head).items()}
    assert own.keys() == {
        name for name, _ in whole.named_parameters() if not name.startswith(whole.base_model_prefix + ".")
    }
    whole.load_state_dict(own, strict=False)
    ids, mask = texts(3, 7)
    mask[1, 4:] = False
    padded = ids.masked_fill(~mask, config.pad_token_id)
    expected = whole(input_ids=padded, attention_mask=mask.long()).logits
    found = head(backbone.forward(ids, mask, Injection(3)), mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["prompt_tuning", "p_tuning_v2", "head_only"])
def test_it_does_not_depend_on_padding(case: str, backbone: Backbone) -> None:
    if not backbone.shape.model_head or small_config(case).problems(backbone.shape, 10):
        pytest.skip("refused")
    head = model_head(backbone)
    method = build(case, backbone)
    ids, mask = texts(2, 8)
    mask[1, 5:] = False
    together = head(run(backbone, method, ids, mask, [0, 1]), mask)
    alone = head(run(backbone, method, ids[1:, :5], mask[1:, :5], [1]), mask[1:, :5])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_it_starts_from_its_generator_alone(bert: Backbone) -> None:
    before = torch.random.get_rng_state()
    first, same, other = (state(model_head(bert, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_pooler_stays_frozen(bert: Backbone) -> None:
    head = model_head(bert)
    assert {name.partition(".")[0] for name in state(head)} == {"head"}
    ids, mask = texts(2, 5)
    head(run(bert, build("prompt_tuning", bert), ids, mask, [0, 1]), mask).sum().backward()
    assert bert.model.pooler.dense.weight.grad is None
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_the_counts_of_model_heads() -> None:
    distilbert = on_meta(DistilBertConfig())
    assert trained_parameters(answers.get("label").head("model", "ab", {}, distilbert)) == 592_130
    assert trained_parameters(answers.get("label").head("mean", "ab", {}, distilbert)) == 1_538


@pytest.mark.parametrize(
    ("family", "expected"), [("bert", False), ("roberta", True), ("distilbert", True), ("gpt2", True)]
)
def test_a_pooler_that_has_no_weights_is_not_read(family: str, expected: bool) -> None:
    """BERT's class reads the pooler, RoBERTa's does not."""
    assert shape.has_model_head(family_config(family), pooler=False) is expected
    assert shape.has_model_head(family_config(family), pooler=True)


def test_weights_that_are_not_in_the_file_do_not_change_the_fingerprint(tmp_path) -> None:
    """A RoBERTa saved without its pooler gets a random one at each load; nothing reads it."""
    from transformers import RobertaModel

    config = RobertaConfig(**FAMILIES["roberta"][1])
    RobertaModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    first, second = Backbone.load(str(tmp_path)), Backbone.load(str(tmp_path))
    assert first.fingerprint() == second.fingerprint()
    assert first.shape.model_head


def test_a_head_of_tokens_reads_the_places_it_is_told(bert: Backbone) -> None:
    head = answers.get("tags").head("mean", "abcd", {}, bert)
    hidden, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool)
    read = torch.zeros_like(mask)
    read[0, 3] = read[1, 0] = read[1, 4] = True
    expected = torch.stack([head.linear(hidden[row, at]) for row, at in ((0, 3), (1, 0), (1, 4))])
    torch.testing.assert_close(head(hidden, mask, read), expected)
