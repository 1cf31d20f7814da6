"""What every method must do; a new method is put through all of it by being there."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable

import pytest
import torch

import methods
from methods.backbone import Backbone
from methods.injection import concatenate
from methods.method import Method, MethodConfig, Start, trained_parameters
from methods.readout import sequence_features
from methods.space import Choice, Range
from tests.methods.conftest import texts

TASKS = ("first", "second")


def small_config(name: str, num_virtual_tokens: int = 5, **given: object) -> MethodConfig:
    config = methods.get(name).Config
    if "num_virtual_tokens" in config.fields():
        given["num_virtual_tokens"] = num_virtual_tokens
    return config(**given)


def build(name: str, backbone: Backbone, seed: int = 0, num_virtual_tokens: int = 5) -> Method:
    method = methods.get(name).Method(small_config(name, num_virtual_tokens), backbone.shape, len(TASKS))
    generator = torch.Generator().manual_seed(seed)
    method.initialize(Start(backbone, TASKS, {"first": [[7], [8]], "second": [[9, 10]]}, generator))
    return method.eval()


@pytest.fixture(params=methods.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def run(backbone: Backbone, method: Method, ids: torch.Tensor, mask: torch.Tensor, tasks: list[int]):
    return backbone.forward(ids, mask, method(torch.tensor(tasks)))


def test_a_row_does_not_depend_on_its_batch_or_padding(name: str, backbone: Backbone) -> None:
    method = build(name, backbone)
    ids, mask = texts(3, 9)
    mask[1, 6:] = False
    together = run(backbone, method, ids, mask, [0, 1, 0])
    alone = run(backbone, method, ids[1:2, :6], mask[1:2, :6], [1])
    torch.testing.assert_close(together[1:2, :6], alone, rtol=1e-4, atol=1e-5)


def test_rows_of_another_trial_change_nothing(name: str, backbone: Backbone) -> None:
    """Rows of a shorter and a longer prompt of another method in the same forward."""
    method = build(name, backbone)
    ids, mask = texts(4, 7)
    task_B = torch.tensor([0, 1])
    alone = backbone.forward(ids[:2], mask[:2], method(task_B))
    for other in methods.names():
        neighbour = build(other, backbone, seed=1, num_virtual_tokens=9)
        packed = backbone.forward(ids, mask, concatenate([method(task_B), neighbour(task_B)]))
        torch.testing.assert_close(packed[:2], alone, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient_and_the_backbone_none(name: str, backbone: Backbone) -> None:
    before = backbone.fingerprint()
    method = build(name, backbone).train()
    ids, mask = texts(2, 6)
    features = sequence_features(run(backbone, method, ids, mask, [0, 1]), mask, method.config.readout)
    head = torch.nn.Linear(features.shape[1], 3)
    torch.nn.functional.cross_entropy(head(features), torch.tensor([0, 2])).backward()
    for parameter_name, parameter in method.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, f"{parameter_name} gets a gradient of zeros"
    assert all(parameter.grad is None for parameter in backbone.model.parameters())
    optimizer = torch.optim.SGD([*method.parameters(), *head.parameters()], lr=0.1)
    optimizer.step()
    assert backbone.fingerprint() == before


def test_hidden_states_are_the_texts(name: str, backbone: Backbone) -> None:
    ids, mask = texts(2, 6)
    hidden = run(backbone, build(name, backbone), ids, mask, [0, 1])
    assert hidden.shape == (2, 6, backbone.shape.hidden_size)


def test_the_injection_matters_unless_it_is_empty(name: str, backbone: Backbone) -> None:
    ids, mask = texts(2, 6)
    bare = run(backbone, build("head_only", backbone), ids, mask, [0, 1])
    injected = run(backbone, build(name, backbone), ids, mask, [0, 1])
    assert torch.equal(bare, injected) == (name == "head_only")


def test_tasks_have_parameters_of_their_own(name: str, bert: Backbone) -> None:
    if name == "head_only":
        assert trained_parameters(build(name, bert)) == 0
        return
    ids, mask = texts(1, 6)
    method = build(name, bert)
    first, second = (run(bert, method, ids, mask, [task]) for task in (0, 1))
    assert not torch.allclose(first, second)


def test_the_same_seed_starts_the_same(name: str, bert: Backbone) -> None:
    first, second, other = (build(name, bert, seed).state_dict() for seed in (3, 3, 4))
    for key in first:
        assert torch.equal(first[key], second[key])
        assert not torch.equal(first[key], other[key])


def test_it_draws_from_the_trials_generator_only(name: str, bert: Backbone) -> None:
    before = torch.random.get_rng_state()
    build(name, bert)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_state_loads_without_initialize(name: str, bert: Backbone) -> None:
    trained = build(name, bert)
    loaded = methods.get(name).Method(small_config(name), bert.shape, len(TASKS)).eval()
    loaded.load_state_dict(trained.state_dict())
    ids, mask = texts(2, 6)
    assert torch.equal(run(bert, trained, ids, mask, [0, 1]), run(bert, loaded, ids, mask, [0, 1]))


def test_its_config_survives_a_pickle_and_json(name: str) -> None:
    config = small_config(name)
    assert pickle.loads(pickle.dumps(config)) == config
    assert type(config)(**config.to_dict()) == config


def test_its_published_default_is_allowed(name: str, bert: Backbone) -> None:
    config = methods.get(name).Config
    assert config().problems(bert.shape, max_length=16) == []
    for field in config.fields().values():
        assert _holds(field.metadata["allowed"], field.default), field.name
        assert field.metadata["help"]
    assert config.space(), "nothing is searched"


def test_an_unknown_choice_is_a_problem(name: str, bert: Backbone) -> None:
    config = dataclasses.replace(small_config(name), readout="middle")
    assert config.problems(bert.shape, 16) == ["readout must be one of first, mean, last, not 'middle'"]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_useless_learning_rate_is_a_problem(name: str, rate: float, bert: Backbone) -> None:
    (problem,) = small_config(name, learning_rate=rate).problems(bert.shape, 16)
    assert "learning_rate" in problem


def test_a_prompt_leaves_the_text_its_positions(name: str, bert: Backbone) -> None:
    """A method that shifts the text is refused a prompt too long, and runs with the longest it is allowed."""
    if "num_virtual_tokens" not in methods.get(name).Config.fields():
        return
    longest = bert.shape.max_positions - 10
    assert small_config(name, longest).problems(bert.shape, max_length=10) == []
    ids, mask = texts(1, 10)
    assert run(bert, build(name, bert, num_virtual_tokens=longest), ids, mask, [0]).isfinite().all()


def test_it_opens_with_what_it_is(name: str) -> None:
    module = methods.get(name)
    assert module.__doc__
    assert module.Method.title
    assert module.Method.__doc__
    assert module.Config.__doc__


def test_packed_gradients_equal_solo_ones(name: str, make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("gpt2")
    ids, mask = texts(4, 7)
    task_B = torch.tensor([0, 1])

    def gradients(packed: bool) -> list[torch.Tensor]:
        method = build(name, backbone)
        injections = [method(task_B)]
        if packed:
            injections.append(build("prompt_tuning", backbone, seed=5, num_virtual_tokens=8)(task_B))
        rows = 4 if packed else 2
        hidden = backbone.forward(ids[:rows], mask[:rows], concatenate(injections))
        loss = hidden[:2].pow(2).mean()
        return list(torch.autograd.grad(loss, list(method.parameters()))) if loss.requires_grad else []

    if name == "head_only":
        return
    for solo, packed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(solo, packed, rtol=1e-4, atol=1e-6)


def _holds(allowed: Range, value: object) -> bool:
    if isinstance(allowed, Choice):
        return value in allowed.choices
    return isinstance(value, int | float) and allowed.low <= value <= allowed.high


def test_unknown_methods_are_named_with_those_there_are() -> None:
    with pytest.raises(methods.UnknownMethodError, match=r"did you mean 'prompt_tuning'.*head_only"):
        methods.get("promt_tuning")


def test_an_import_error_of_a_method_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "names", lambda: ("is_not_there",))
    with pytest.raises(ModuleNotFoundError):
        methods.get("is_not_there")
