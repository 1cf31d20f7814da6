"""What every method must do; a new method is put through all of it by being there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.injection import concatenate
from methods.backbone.readout import sequence_features
from methods.parameters import load_state, state, trained_parameters
from tests.methods.building import TASKS, build, inject, run, small_config
from tests.methods.conftest import texts


@pytest.fixture(autouse=True)
def _what_is_refused_is_not_run(request: pytest.FixtureRequest) -> None:
    """A method that a family is refused for says why, which the test of the family table looks at."""
    if {"case", "backbone"} <= set(request.fixturenames):
        backbone = request.getfixturevalue("backbone")
        problems = small_config(request.getfixturevalue("case")).problems(backbone.shape, 16)
        if problems:
            pytest.skip(problems[0])


def test_a_row_does_not_depend_on_its_batch_or_padding(case: str, backbone: Backbone) -> None:
    method = build(case, backbone)
    ids, mask = texts(3, 9)
    mask[1, 6:] = False
    together = run(backbone, method, ids, mask, [0, 1, 0])
    alone = run(backbone, method, ids[1:2, :6], mask[1:2, :6], [1])
    torch.testing.assert_close(together[1:2, :6], alone, rtol=1e-4, atol=1e-5)


def test_rows_of_another_trial_change_nothing(case: str, backbone: Backbone) -> None:
    """Rows of a shorter and a longer prompt of another method in the same forward."""
    method = build(case, backbone)
    if not method.shares_forward(backbone):
        pytest.skip("its rows share no forward")
    ids, mask = texts(4, 7)
    mine = inject(backbone, method, ids[:2], mask[:2], [0, 1])
    alone = backbone.forward(ids[:2], mask[:2], mine)
    for other in methods.names():
        if small_config(other).problems(backbone.shape, 16):
            continue
        neighbour = build(other, backbone, seed=1, num_virtual_tokens=9)
        if not neighbour.shares_forward(backbone):
            continue
        theirs = inject(backbone, neighbour, ids[2:], mask[2:], [0, 1])
        packed = backbone.forward(ids, mask, concatenate([mine, theirs]))
        torch.testing.assert_close(packed[:2], alone, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient_and_the_backbone_none(case: str, backbone: Backbone) -> None:
    before = backbone.fingerprint()
    method = build(case, backbone).train()
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


def test_hidden_states_are_the_texts(case: str, backbone: Backbone) -> None:
    ids, mask = texts(2, 6)
    hidden = run(backbone, build(case, backbone), ids, mask, [0, 1])
    assert hidden.shape == (2, 6, backbone.shape.hidden_size)


def test_the_injection_matters_unless_it_is_empty(case: str, backbone: Backbone) -> None:
    ids, mask = texts(2, 6)
    bare = run(backbone, build("head_only", backbone), ids, mask, [0, 1])
    injected = run(backbone, build(case, backbone), ids, mask, [0, 1])
    same = torch.allclose(bare, injected, rtol=1e-4, atol=1e-5)
    assert same == (case.partition(" ")[0] in ("head_only", "full", "lora")), "LoRA's updates start at zero"


def test_tasks_have_parameters_of_their_own(case: str, bert: Backbone) -> None:
    ids, mask = texts(1, 6)
    method = build(case, bert)
    if case == "head_only":
        assert trained_parameters(method) == 0
        pytest.skip("it has no parameters")
    if case.partition(" ")[0] in ("full", "lora"):
        pytest.skip("it trains one set of weights for all tasks")
    first, second = (run(bert, method, ids, mask, [task]) for task in (0, 1))
    assert not torch.allclose(first, second)


def test_the_same_seed_starts_the_same(case: str, bert: Backbone) -> None:
    first, second, other = (state(build(case, bert, seed)) for seed in (3, 3, 4))
    for key in first:
        assert torch.equal(first[key], second[key])
    if case in ("head_only", "full"):
        pytest.skip("it draws nothing")
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_it_draws_from_the_trials_generator_only(case: str, bert: Backbone) -> None:
    states = []
    for seed in (1, 2):
        torch.random.manual_seed(seed)
        states.append(state(build(case, bert)))
    for key, tensor in states[0].items():
        assert torch.equal(tensor, states[1][key]), key


def test_a_state_loads_without_initialize(case: str, bert: Backbone) -> None:
    trained = build(case, bert)
    loaded = type(trained)(small_config(case), bert, len(TASKS)).eval()
    load_state(loaded, state(trained))
    ids, mask = texts(2, 6)
    assert torch.equal(run(bert, trained, ids, mask, [0, 1]), run(bert, loaded, ids, mask, [0, 1]))


def test_packed_gradients_equal_solo_ones(case: str, make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("gpt2")
    if case == "head_only":
        pytest.skip("it has no parameters")
    if build(case, backbone).private_backbone:
        pytest.skip("it trains a copy of the backbone: its rows share no forward")
    ids, mask = texts(4, 7)

    def gradients(packed: bool) -> list[torch.Tensor]:
        method = build(case, backbone)
        injections = [inject(backbone, method, ids[:2], mask[:2], [0, 1])]
        if packed:
            other = build("prompt_tuning", backbone, seed=5, num_virtual_tokens=8)
            injections.append(inject(backbone, other, ids[2:], mask[2:], [0, 1]))
        rows = 4 if packed else 2
        hidden = backbone.forward(ids[:rows], mask[:rows], concatenate(injections))
        loss = hidden[:2].pow(2).mean()
        if injections[0].auxiliary_loss_B is not None:
            loss = loss + injections[0].auxiliary_loss_B.mean()
        return list(torch.autograd.grad(loss, list(method.parameters())))

    for solo, packed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(solo, packed, rtol=1e-4, atol=1e-6)


def test_what_is_deployed_does_the_same(case: str, backbone: Backbone) -> None:
    """The deployed form, put together from its tensors alone, as the trained one."""
    trained = build(case, backbone)
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
