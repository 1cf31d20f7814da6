"""Prefix tuning: exact by oracle, and the playbook's counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig, DistilBertConfig

from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, Prompt, Site, full_mask
from methods.method import Rows
from methods.parameters import deployed_parameters, trained_parameters
from tests.methods.building import build, count, on_meta, run, small_config
from tests.methods.conftest import texts


def test_the_playbooks_counts() -> None:
    distilbert, bert = on_meta(DistilBertConfig()), on_meta(BertConfig())
    assert count("prefix_tuning", distilbert, num_virtual_tokens=10) == (46_080, 46_080)
    assert count("prefix_tuning", distilbert, num_virtual_tokens=5) == (23_040, 23_040)
    assert count("prefix_tuning", bert, num_virtual_tokens=20) == (184_320, 184_320)


def test_the_networks_counts() -> None:
    distilbert = on_meta(DistilBertConfig())
    given = {"num_virtual_tokens": 10, "parameterization": "mlp", "mlp_width": 100}
    trained = 10 * 768 + 768 * 100 + 100 + 100 * 2 * 6 * 768 + 2 * 6 * 768
    assert count("prefix_tuning", distilbert, **given) == (trained, 2 * 6 * 10 * 768)


def test_layer_inputs_project_to_the_layers_own_keys_and_values(backbone: Backbone) -> None:
    if not backbone.shape.sites:
        pytest.skip("its keys and values are out of reach")
    embeddings = backbone.embed(texts(2, 7)[0])
    own = backbone.keys_and_values(embeddings)
    found = backbone.project(backbone.layer_inputs(embeddings))
    assert list(found) == list(own)
    for site in own:
        for mine, expected in zip(found[site], own[site], strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def test_it_equals_positions_that_every_layer_overwrites(backbone: Backbone) -> None:
    """The playbook's picture of prefix tuning: P more positions whose hidden states are replaced before every layer."""
    if not backbone.shape.sites or not backbone.shape.shifts_text:
        pytest.skip("there are no prefixes, or positions that a prefix does not move")
    method = build("prefix_tuning", backbone, num_virtual_tokens=3, shift_positions=True)
    # Mistral: a text so short that no window of 4 parts it from the prefix.
    ids, mask = texts(2, 1 if backbone.config.model_type == "mistral" else 7)
    tasks = torch.tensor([0, 1])

    order = list(backbone.shape.sites)

    def overwrite(site: Site, hidden_BSH: torch.Tensor) -> torch.Tensor:
        return torch.cat([method.hidden[order.index(site)][tasks], hidden_BSH[:, 3:]], dim=1)

    nothing = Prompt(torch.zeros(2, 3, backbone.shape.embedding_size), full_mask(2, 3, ids.device))
    with backbone._inputs(overwrite):
        expected = backbone.forward(ids, mask, Injection(2, prompt=nothing))
    torch.testing.assert_close(run(backbone, method, ids, mask, [0, 1]), expected, rtol=1e-4, atol=1e-5)


def test_hooks_are_gone_after_a_forward(bert: Backbone) -> None:
    ids, mask = texts(1, 5)
    run(bert, build("prefix_tuning", bert), ids, mask, [0])
    assert not any(module._forward_pre_hooks for module in bert.model.modules())


def test_a_vector_gets_its_gradient_from_its_own_layer_alone(
    make_backbone: Callable[[str], Backbone],
) -> None:
    backbone = make_backbone("llama")
    hidden = {site: torch.randn(1, 3, 32, requires_grad=True) for site in backbone.shape.sites}
    first, second = backbone.shape.sites
    key, _ = backbone.project(hidden)[second]
    gradients = torch.autograd.grad(key.sum(), [hidden[first], hidden[second]], allow_unused=True)
    assert gradients[0] is None
    assert gradients[1].abs().sum() > 0


def test_answers_make_the_tables_once(bert: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    method, rows = build("prefix_tuning", bert), Rows(torch.zeros(2, dtype=torch.long), None)
    made: list[int] = []
    project = bert.project
    monkeypatch.setattr(bert, "project", lambda inputs: made.append(1) or project(inputs))

    def keys() -> torch.Tensor:
        return next(iter(method(rows, bert).prefixes.values())).key_BNPD

    with torch.no_grad():
        first = keys()
        assert torch.equal(keys(), first)
        assert len(made) == 1
        method.hidden.add_(1.0)  # as a step of the optimizer
        changed = keys()
        assert not torch.equal(changed, first)
        assert len(made) == 2
    torch.testing.assert_close(keys(), changed)
    assert keys().requires_grad
    assert len(made) == 4, "for a step they are made each time, with the graph"


def test_chosen_layers_alone_get_a_prefix(bert: Backbone) -> None:
    for case in ("prefix_tuning", "prefix_tuning parameterization=mlp", "p_tuning_v2"):
        method = build(case, bert, layers="1")
        assert [site.layer for site in method(Rows(torch.tensor([0])), bert).prefixes] == [1]
        assert trained_parameters(method) < trained_parameters(build(case, bert))


@pytest.mark.parametrize("wrong", ["", "two", "1-0", "-1", "0;1", "5"])
def test_layers_that_are_not_there_are_refused(wrong: str, bert: Backbone) -> None:
    (problem,) = small_config("prefix_tuning", layers=wrong).problems(bert.shape, 10)
    assert problem.startswith("layers must be")


def test_the_network_starts_in_the_scale_of_each_layer(make_backbone: Callable[[str], Backbone]) -> None:
    for family in ("bert", "llama", "albert"):
        backbone = make_backbone(family)
        method = build("prefix_tuning parameterization=mlp", backbone, num_virtual_tokens=60)
        made = method(Rows(torch.tensor([0])), backbone).prefixes
        own = backbone.keys_and_values(backbone.embed(texts(1, 64, seed=9)[0]))
        for site, prefix in made.items():
            for mine, theirs in zip((prefix.key_BNPD, prefix.value_BNPD), own[site], strict=True):
                assert mine.std().item() == pytest.approx(theirs.std().item(), rel=0.5)


def test_the_network_is_not_deployed(bert: Backbone) -> None:
    method = build("prefix_tuning parameterization=mlp", bert)
    form = method.deployed(bert)
    assert type(form).__module__ == "methods.p_tuning_v2"
    assert deployed_parameters(method, bert) == 2 * 2 * 2 * 5 * 32  # tasks, keys and values, layers, P, H
