"""The pool: each row's own choice, by brute force, and no collapse onto one prompt."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig

from methods.backbone.backbone import Backbone
from methods.method import Rows
from methods.parameters import trained_parameters
from methods.prompt_pool import spread
from tests.methods.building import build, count, inject, on_meta, small_config
from tests.methods.conftest import texts


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a @ b / (a.norm() * b.norm())).item()


def test_counts() -> None:
    bert = on_meta(BertConfig())
    given = {"pool_size": 10, "num_virtual_tokens": 20}
    assert count("prompt_pool", bert, **given) == (161_280, 161_280)
    keys_and_values = 10 * 20 * 2 * 12 * 768 + 10 * 768
    assert count("prompt_pool", bert, site="key_value", **given) == (keys_and_values, keys_and_values)
    mixed = 161_280 + 768 * 768 + 768
    assert count("prompt_pool", bert, selection="mix", **given) == (mixed, mixed)
    bare = 161_280 - 10 * 768
    assert count("prompt_pool", bert, selection="mix", keys="prompts", **given) == (bare, bare)


def test_top_k_is_brute_force(bert: Backbone) -> None:
    method = build("prompt_pool", bert, pool_size=6, top_k=3)
    ids, mask = texts(5, 7)
    tasks = [0, 1, 0, 1, 1]
    injection = inject(bert, method, ids, mask, tasks)
    queries = bert.features(ids, mask, "mean")
    for row, task in enumerate(tasks):
        near = sorted(range(6), key=lambda i: -cosine(queries[row], method.keys[task, i]))[:3]
        expected = torch.cat([method.tables[0][task, i] for i in near])
        torch.testing.assert_close(injection.prompt.embeddings_BPE[row], expected)
        pull = 0.5 * sum(1 - cosine(queries[row], method.keys[task, i]) for i in near)
        assert injection.auxiliary_loss_B[row].item() == pytest.approx(pull, abs=1e-5)


def test_the_mix_is_a_weighted_sum(bert: Backbone) -> None:
    method = build("prompt_pool selection=mix", bert, pool_size=4, temperature=0.5)
    ids, mask = texts(2, 7)
    injection = inject(bert, method, ids, mask, [0, 1])
    queries = method.encoder(bert.features(ids, mask, "mean"))
    for task in range(2):
        exponents = [math.exp(cosine(queries[task], method.keys[task, i]) / 0.5) for i in range(4)]
        expected = sum(e / sum(exponents) * method.tables[0][task, i] for i, e in enumerate(exponents))
        torch.testing.assert_close(injection.prompt.embeddings_BPE[task], expected)
    assert injection.auxiliary_loss_B is None


def test_a_prompt_may_be_its_own_key(bert: Backbone) -> None:
    method = build("prompt_pool keys=prompts", bert, pool_size=4, temperature=0.5)
    assert [name for name, _ in method.named_parameters()] == ["tables.0"]
    ids, mask = texts(2, 7)
    injection = inject(bert, method, ids, mask, [0, 1])
    queries = bert.features(ids, mask, "mean")
    (table,) = method.tables
    for task in range(2):
        exponents = [math.exp(cosine(queries[task], table[task, i].mean(0)) / 0.5) for i in range(4)]
        expected = sum(e / sum(exponents) * table[task, i] for i, e in enumerate(exponents))
        torch.testing.assert_close(injection.prompt.embeddings_BPE[task], expected)


@pytest.mark.parametrize(
    "case",
    [
        "prompt_pool",
        "prompt_pool selection=mix",
        "prompt_pool keys=prompts",
        "prompt_pool site=key_value",
    ],
)
def test_rows_have_no_influence_on_each_other(case: str, bert: Backbone) -> None:
    method = build(case, bert)
    queries = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    together = method(Rows(torch.zeros(6, dtype=torch.long), queries), bert)
    for row in range(6):
        alone = method(Rows(torch.zeros(1, dtype=torch.long), queries[row : row + 1]), bert)
        if together.prompt is not None:
            torch.testing.assert_close(alone.prompt.embeddings_BPE[0], together.prompt.embeddings_BPE[row])
        for site, prefix in alone.prefixes.items():
            torch.testing.assert_close(prefix.key_BNPD[0], together.prefixes[site].key_BNPD[row])


def test_unchosen_prompts_get_no_gradient_and_keys_that_of_the_pull_alone(bert: Backbone) -> None:
    method = build("prompt_pool", bert, pool_size=5, top_k=2)
    ids, mask = texts(1, 7)
    injection = inject(bert, method, ids, mask, [0])
    hidden = bert.forward(ids, mask, injection)
    table, keys = torch.autograd.grad(
        hidden.pow(2).sum(), [method.tables[0], method.keys], allow_unused=True, retain_graph=True
    )
    assert (table[0].flatten(1).abs().sum(1) > 0).sum() == 2
    assert not table[1].any(), "the other task's pool"
    assert keys is None
    (pulled,) = torch.autograd.grad(injection.auxiliary_loss_B.sum(), method.keys)
    assert (pulled[0].abs().sum(1) > 0).sum() == 2


def clustered(clusters: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries in a narrow cone, as those of language models are, in clear clusters; and the cluster of each."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(clusters, 32, generator=generator) + 4
    which = torch.arange(clusters).repeat_interleave(each)
    return centres[which] + 0.05 * torch.randn(len(which), 32, generator=generator), which


def test_keys_start_in_every_cluster() -> None:
    queries, which = clustered(5, 20)
    keys = spread(queries, 5, torch.Generator().manual_seed(0))
    owner = torch.cdist(keys, queries).argmin(1)
    assert len(set(which[owner].tolist())) == 5


def test_keys_of_rows_that_are_all_alike_are_finite() -> None:
    assert spread(torch.ones(3, 4), 6, torch.Generator().manual_seed(0)).shape == (6, 4)


def test_training_does_not_collapse_onto_one_prompt(make_backbone: Callable[[str], Backbone]) -> None:
    """Five clusters of queries keep prompts of their own through sixty steps, and the usage says so."""
    backbone = make_backbone("bert")
    method = build("prompt_pool", backbone, pool_size=5, top_k=1)
    queries, which = clustered(5, 20)
    with torch.no_grad():
        method.keys[0] = spread(queries, 5, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.01)
    method.train()
    ids, mask = texts(10, 5)
    draw = torch.Generator().manual_seed(1)
    for _ in range(60):
        rows = torch.randint(len(queries), (10,), generator=draw)
        injection = method(Rows(torch.zeros(10, dtype=torch.long), queries[rows]), backbone)
        hidden = backbone.forward(ids, mask, injection)
        loss = hidden.mean(1)[:, 0].sub(which[rows]).pow(2).mean() + injection.auxiliary_loss_B.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    usage = method.metrics()
    assert usage["pool_used"] == 1.0
    assert usage["pool_evenness"] > 0.9
    assert method.metrics() == {}, "counted anew from each call"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"top_k": 6, "pool_size": 5}, "top_k must be at most pool_size (5), not 6"),
        ({"pool_size": 0, "top_k": 1, "selection": "mix"}, "pool_size must be at least 1, not 0"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"pull": -1.0}, "pull must be at least 0, not -1.0"),
        (
            {"selection": "mix", "keys": "prompts", "site": "key_value"},
            "keys must be learned, not prompts: a query can be compared with prompts only at site: input, in a model whose "
            "embeddings are as wide as its hidden states",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], problem: str, bert: Backbone) -> None:
    assert small_config("prompt_pool", **given).problems(bert.shape, 10) == [problem]


def test_a_row_takes_the_positions_of_all_its_prompts(bert: Backbone) -> None:
    (problem,) = small_config("prompt_pool", num_virtual_tokens=20, top_k=3).problems(bert.shape, 10)
    assert "num_virtual_tokens must be at most 18, not 20" in problem
    assert small_config("prompt_pool", num_virtual_tokens=18, top_k=3).problems(bert.shape, 10) == []


def test_usage_is_no_parameter(bert: Backbone) -> None:
    method = build("prompt_pool", bert)
    assert trained_parameters(method) == 2 * (10 * 5 * 32 + 10 * 32)
    assert not any("usage" in name for name in method.state_dict()), "nor is it saved"
