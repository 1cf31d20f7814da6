"""Multi-task prompt tuning, term by term."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import DistilBertConfig

from methods.backbone.backbone import Backbone
from methods.method import Rows
from tests.methods.building import build, count, on_meta

SELECTORS = ("per_task", "task_embedding", "task_id")


def test_counts() -> None:
    distilbert = on_meta(DistilBertConfig())
    given = {"num_virtual_tokens": 20, "pool_size": 10, "tasks": 3}
    pool = 10 * 20 * 768
    assert count("multitask", distilbert, **given)[0] == pool + 3 * (10 * 768 + 10)
    assert count("multitask", distilbert, selector="task_embedding", **given)[0] == pool + 7680 + 10 + 3 * 768
    assert count("multitask", distilbert, selector="task_id", **given) == (pool + 30, pool + 30)


def test_sharing_costs_fewer_parameters_than_a_prompt_each() -> None:
    """With enough tasks: the pool does not grow with them."""
    distilbert = on_meta(DistilBertConfig())
    shared = count("multitask", distilbert, tasks=20, num_virtual_tokens=20, selector="task_id")[1]
    assert shared < count("prompt_tuning", distilbert, tasks=20, num_virtual_tokens=20)[1]


@pytest.mark.parametrize("selector", SELECTORS)
def test_the_formula_term_by_term(selector: str, bert: Backbone) -> None:
    method = build("multitask", bert, selector=selector, pool_size=4, num_virtual_tokens=3)
    with torch.no_grad():
        method.bias.normal_(generator=torch.Generator().manual_seed(2))
    text = torch.randn(3, 32, generator=torch.Generator().manual_seed(1)) * 9
    tasks = [0, 1, 0]
    found = method(Rows(torch.tensor(tasks), text), bert).prompt.embeddings_BPE
    for row, task in enumerate(tasks):
        features = text[row] / text[row].norm()
        if selector == "task_embedding":
            features = features + method.task[task]
        scores = []
        for i in range(4):
            if selector == "task_id":
                scores.append(method.bias[task, i].item())
            else:
                which = 0 if selector == "task_embedding" else task
                scores.append((method.weight[which, i] @ features + method.bias[which, i]).item())
        exponents = [math.exp(score) for score in scores]
        expected = sum(e / sum(exponents) * method.pool[i] for i, e in enumerate(exponents))
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def test_usage_is_what_rows_took_of_the_pool(bert: Backbone) -> None:
    method = build("multitask", bert, selector="task_id", pool_size=4)
    with torch.no_grad():
        method.bias.copy_(torch.tensor([[9.0, 9.0, -9.0, -9.0], [9.0, -9.0, -9.0, -9.0]]))
    rows = Rows(torch.tensor([0, 1, 1, 1]), None)
    method.eval()
    method(rows, bert)
    assert method.metrics() == {}, "what is evaluated does not count"
    method.train()
    method(rows, bert)
    shares = (0.875, 0.125)  # one row takes halves of two prompts, three rows take the first
    assert method.metrics() == {
        "pool_used": 0.5,
        "pool_evenness": pytest.approx(-sum(s * math.log(s) for s in shares) / math.log(4), abs=1e-4),
    }
    assert method.metrics() == {}, "counted anew from each call"


def test_tasks_share_the_pool_and_have_selectors_of_their_own(bert: Backbone) -> None:
    method = build("multitask", bert)
    rows = Rows(torch.tensor([1]), torch.randn(1, 32, generator=torch.Generator().manual_seed(1)))
    loss = method(rows, bert).prompt.embeddings_BPE.pow(2).sum()
    pool, weight = torch.autograd.grad(loss, [method.pool, method.weight])
    assert pool.flatten(1).abs().sum(1).min() > 0
    assert not weight[0].any()
    assert weight[1].any()


def test_selectors_learn_more_slowly(bert: Backbone) -> None:
    (first, prompts), (second, selectors) = build("multitask", bert).parameter_groups()
    assert (prompts, selectors) == (1.0, 0.1)
    assert len(first) == 1
    assert len(second) == 2


def test_the_task_alone_needs_no_query(bert: Backbone) -> None:
    method = build("multitask", bert, selector="task_id")
    assert method.query is None
    assert method(Rows(torch.tensor([0])), bert).prompt is not None


@pytest.mark.parametrize("selector", SELECTORS)
def test_no_prompt_rules_at_the_start(selector: str, bert: Backbone) -> None:
    method = build("multitask", bert, selector=selector, pool_size=10)
    text = torch.randn(20, 32, generator=torch.Generator().manual_seed(1)) * 50
    share = method.selection(Rows(torch.zeros(20, dtype=torch.long), text))
    torch.testing.assert_close(share.sum(1), torch.ones(20))
    assert share.max() < 0.8
