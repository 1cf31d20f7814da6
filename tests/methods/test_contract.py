"""What every method must do; a new method is put through all of it by being there."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, concatenate
from methods.backbone.readout import sequence_features
from methods.config import MethodConfig
from methods.method import Method, Rows, Start
from methods.parameters import load_state, state, trained_parameters
from methods.space import Allowed, Choice, Text
from tests.methods.conftest import texts

TASKS = ("first", "second")


def _cases() -> list[str]:
    """Every method, and every method with each other value of the choices that shape it: "p_tuning encoder=mlp"."""
    found = []
    for name in methods.names():
        found.append(name)
        for field in methods.get(name).Config.fields().values():
            allowed = field.metadata["allowed"]
            if isinstance(allowed, Choice) and field.name not in ("readout", "init", "placement"):
                found += [f"{name} {field.name}={v}" for v in allowed.choices if v != field.default]
    return found


def small_config(case: str, num_virtual_tokens: int = 5, **given: object) -> MethodConfig:
    """The configuration of a case, small."""
    name, _, choice = case.partition(" ")
    config = methods.get(name).Config
    if choice:
        field, _, text = choice.partition("=")
        (given[field],) = [v for v in config.fields()[field].metadata["allowed"].choices if str(v) == text]
    if "num_virtual_tokens" in config.fields():
        given["num_virtual_tokens"] = num_virtual_tokens
    return config(**given)


def build(
    case: str, backbone: Backbone, seed: int = 0, num_virtual_tokens: int = 5, **given: object
) -> Method:
    module = methods.get(case.partition(" ")[0])
    method = module.Method(small_config(case, num_virtual_tokens, **given), backbone, len(TASKS))
    method.initialize(start(backbone, seed))
    return method.eval()


def start(backbone: Backbone, seed: int = 0, label_ids: list[list[int]] | None = None) -> Start:
    """What trials of the tasks `TASKS` start from; a text's tokens are its letters, "a" being 10."""
    by_task = {"first": label_ids or [[7], [8]], "second": [[9, 10]]}
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(2, 8, backbone.shape.hidden_size, generator=torch.Generator().manual_seed(7))
    return Start(
        backbone, TASKS, by_task, generator, lambda text: [ord(letter) - 87 for letter in text], list(queries)
    )


@pytest.fixture(params=_cases())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _what_is_refused_is_not_run(request: pytest.FixtureRequest) -> None:
    """A method that a family is refused for says why, which the test of the family table looks at."""
    if {"name", "backbone"} <= set(request.fixturenames):
        backbone = request.getfixturevalue("backbone")
        problems = small_config(request.getfixturevalue("name")).problems(backbone.shape, 16)
        if problems:
            pytest.skip(problems[0])


def inject(
    backbone: Backbone, method: Method, ids: torch.Tensor, mask: torch.Tensor, tasks: list[int]
) -> Injection:
    """The method's injection for texts of the given tasks."""
    query = None if method.query is None else backbone.features(ids, mask, method.query)
    return method(Rows(torch.tensor(tasks), query), method.own_backbone or backbone)


def run(backbone: Backbone, method: Method, ids: torch.Tensor, mask: torch.Tensor, tasks: list[int]):
    own = method.own_backbone or backbone
    return own.forward(ids, mask, inject(backbone, method, ids, mask, tasks))


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
    if method.private_backbone:
        return
    ids, mask = texts(4, 7)
    mine = inject(backbone, method, ids[:2], mask[:2], [0, 1])
    alone = backbone.forward(ids[:2], mask[:2], mine)
    for other in methods.names():
        if methods.get(other).Method.private_backbone or small_config(other).problems(backbone.shape, 16):
            continue
        neighbour = build(other, backbone, seed=1, num_virtual_tokens=9)
        theirs = inject(backbone, neighbour, ids[2:], mask[2:], [0, 1])
        packed = backbone.forward(ids, mask, concatenate([mine, theirs]))
        torch.testing.assert_close(packed[:2], alone, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient_and_the_backbone_none(name: str, backbone: Backbone) -> None:
    before = backbone.fingerprint()
    method = build(name, backbone).train()
    ids, mask = texts(2, 6)
    used = method.own_backbone or backbone
    injection = inject(backbone, method, ids, mask, [0, 1])
    features = sequence_features(used.forward(ids, mask, injection), mask, method.config.readout)
    head = torch.nn.Linear(features.shape[1], 3)
    loss = torch.nn.functional.cross_entropy(head(features), torch.tensor([0, 2]))
    if injection.auxiliary_loss_B is not None:
        loss = loss + injection.auxiliary_loss_B.mean()
    loss.backward()
    for parameter_name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert method.private_backbone, parameter_name
            continue
        assert parameter.grad is not None, parameter_name
        if "lora_A" not in parameter_name:  # it waits for B, which starts at zero
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
    same = torch.allclose(bare, injected, rtol=1e-4, atol=1e-5)
    assert same == (name == "head_only" or methods.get(name.partition(" ")[0]).Method.private_backbone)


def test_tasks_have_parameters_of_their_own(name: str, bert: Backbone) -> None:
    ids, mask = texts(1, 6)
    method = build(name, bert)
    if name == "head_only":
        assert trained_parameters(method) == 0
        return
    if method.private_backbone:  # one copy for all tasks
        return
    first, second = (run(bert, method, ids, mask, [task]) for task in (0, 1))
    assert not torch.allclose(first, second)


def test_the_same_seed_starts_the_same(name: str, bert: Backbone) -> None:
    first, second, other = (state(build(name, bert, seed)) for seed in (3, 3, 4))
    for key in first:
        assert torch.equal(first[key], second[key])
    if name in ("head_only", "full"):  # nothing is drawn
        return
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_it_draws_from_the_trials_generator_only(name: str, bert: Backbone) -> None:
    states = []
    for seed in (1, 2):
        torch.random.manual_seed(seed)
        states.append(state(build(name, bert)))
    for key, tensor in states[0].items():
        assert torch.equal(tensor, states[1][key]), key


def test_a_state_loads_without_initialize(name: str, bert: Backbone) -> None:
    trained = build(name, bert)
    loaded = type(trained)(small_config(name), bert, len(TASKS)).eval()
    load_state(loaded, state(trained))
    ids, mask = texts(2, 6)
    assert torch.equal(run(bert, trained, ids, mask, [0, 1]), run(bert, loaded, ids, mask, [0, 1]))


def test_its_config_survives_a_pickle_and_json(name: str) -> None:
    config = small_config(name)
    assert pickle.loads(pickle.dumps(config)) == config
    assert type(config)(**config.to_dict()) == config


def test_a_field_that_does_not_apply_changes_nothing(name: str, bert: Backbone) -> None:
    config = small_config(name)
    ids, mask = texts(2, 6)
    for field in config.fields().values():
        where = field.metadata["where"]
        assert all(
            _holds(config.fields()[other].metadata["allowed"], value) for other, value in where.items()
        )
        if field.name in config.to_dict():
            continue
        changed = build(name, bert, **{field.name: _another(field.metadata["allowed"], field.default)})
        assert changed.config != config
        assert changed.config.to_dict() == config.to_dict()
        made = (run(bert, method, ids, mask, [0, 1]) for method in (changed, build(name, bert)))
        assert torch.equal(*made), field.name


def test_its_published_default_is_allowed(name: str, bert: Backbone) -> None:
    config = type(small_config(name))
    assert config().problems(bert.shape, max_length=16) == []
    for field in config.fields().values():
        assert _holds(field.metadata["allowed"], field.default), field.name
        assert field.metadata["help"]
    assert config.space(), "nothing is searched"


def test_an_unknown_choice_is_a_problem(name: str, bert: Backbone) -> None:
    config = dataclasses.replace(small_config(name), readout="middle")
    assert config.problems(bert.shape, 16) == [
        "readout must be one of first, mean, last, model, not 'middle'"
    ]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_useless_learning_rate_is_a_problem(name: str, rate: float, bert: Backbone) -> None:
    (problem,) = small_config(name, learning_rate=rate).problems(bert.shape, 16)
    assert "learning_rate" in problem


def test_a_prompt_leaves_the_text_its_positions(name: str, bert: Backbone) -> None:
    """A method that shifts the text is refused a prompt too long, and runs with the longest it is allowed."""
    if "num_virtual_tokens" not in small_config(name).fields():
        return
    config = small_config(name)
    longest = (bert.shape.max_positions - 10) * config.num_virtual_tokens // config.row_tokens
    assert small_config(name, longest).problems(bert.shape, max_length=10) == []
    ids, mask = texts(1, 10)
    assert run(bert, build(name, bert, num_virtual_tokens=longest), ids, mask, [0]).isfinite().all()


def test_it_opens_with_what_it_is(name: str) -> None:
    module = methods.get(name.partition(" ")[0])
    assert module.__doc__
    assert module.Method.title
    assert module.Method.__doc__
    assert module.Config.__doc__


def test_packed_gradients_equal_solo_ones(name: str, make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("gpt2")
    ids, mask = texts(4, 7)

    def gradients(packed: bool) -> list[torch.Tensor]:
        method = build(name, backbone)
        injections = [inject(backbone, method, ids[:2], mask[:2], [0, 1])]
        if packed:
            other = build("prompt_tuning", backbone, seed=5, num_virtual_tokens=8)
            injections.append(inject(backbone, other, ids[2:], mask[2:], [0, 1]))
        rows = 4 if packed else 2
        hidden = backbone.forward(ids[:rows], mask[:rows], concatenate(injections))
        loss = hidden[:2].pow(2).mean()
        if injections[0].auxiliary_loss_B is not None:
            loss = loss + injections[0].auxiliary_loss_B.mean()
        return list(torch.autograd.grad(loss, list(method.parameters()))) if loss.requires_grad else []

    if name == "head_only" or build(name, backbone).private_backbone:
        return
    for solo, packed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(solo, packed, rtol=1e-4, atol=1e-6)


def _holds(allowed: Allowed, value: object) -> bool:
    if isinstance(allowed, Choice):
        return value in allowed.choices
    if isinstance(allowed, Text):
        return isinstance(value, str)
    return isinstance(value, int | float) and allowed.low <= value <= allowed.high


def _another(allowed: Allowed, default: object) -> object:
    """A value that is allowed and not the default."""
    if isinstance(allowed, Text):
        return "the text"
    values = allowed.choices if isinstance(allowed, Choice) else (allowed.low, allowed.high)
    return next(value for value in values if value != default)


def test_unknown_methods_are_named_with_those_there_are() -> None:
    with pytest.raises(methods.UnknownMethodError, match=r"did you mean 'prompt_tuning'.*head_only"):
        methods.get("promt_tuning")


def test_what_is_deployed_does_the_same(name: str, backbone: Backbone) -> None:
    """The deployed form, put together from its tensors alone, as the trained one."""
    trained = build(name, backbone)
    form = trained.deployed(trained.own_backbone or backbone)
    loaded = type(form)(form.config, backbone, len(TASKS)).eval()
    load_state(loaded, state(form))
    ids, mask = texts(2, 6)
    torch.testing.assert_close(
        run(backbone, loaded, ids, mask, [0, 1]),
        run(backbone, trained, ids, mask, [0, 1]),
        rtol=1e-4,
        atol=1e-5,
    )
    assert trained_parameters(form) <= trained_parameters(trained)
