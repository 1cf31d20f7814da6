"""What every method's configuration must do, beside what test_contract.py asks of the method."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from methods.space import Allowed, Choice, Text
from tests.methods.building import build, run, small_config
from tests.methods.conftest import texts


def test_its_config_survives_a_pickle_and_json(case: str) -> None:
    config = small_config(case)
    assert pickle.loads(pickle.dumps(config)) == config
    assert type(config)(**json.loads(json.dumps(config.to_dict()))) == config


def test_a_field_that_does_not_apply_changes_nothing(case: str, bert: Backbone) -> None:
    config = small_config(case)
    ids, mask = texts(2, 6)
    for field in config.fields().values():
        where = field.metadata["where"]
        assert all(
            _holds(config.fields()[other].metadata["allowed"], value) for other, value in where.items()
        )
        if field.name in config.to_dict():
            continue
        changed = build(case, bert, **{field.name: _another(field.metadata["allowed"], field.default)})
        assert changed.config != config
        assert changed.config.to_dict() == config.to_dict()
        made = (run(bert, method, ids, mask, [0, 1]) for method in (changed, build(case, bert)))
        assert torch.equal(*made), field.name


def test_its_published_default_is_allowed(case: str, bert: Backbone) -> None:
    config = type(small_config(case))
    assert config().problems(bert.shape, max_length=16) == []
    for field in config.fields().values():
        assert _holds(field.metadata["allowed"], field.default), field.name
        assert field.metadata["help"]
    assert config.space(), "nothing is searched"


def test_an_unknown_choice_is_a_problem(case: str, bert: Backbone) -> None:
    config = dataclasses.replace(small_config(case), readout="middle")
    assert config.problems(bert.shape, 16) == [
        "readout must be one of first, mean, last, model, not 'middle'"
    ]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_useless_learning_rate_is_a_problem(case: str, rate: float, bert: Backbone) -> None:
    (problem,) = small_config(case, learning_rate=rate).problems(bert.shape, 16)
    assert "learning_rate" in problem


def test_a_prompt_leaves_the_text_its_positions(case: str, bert: Backbone) -> None:
    """A method that shifts the text is refused a prompt too long, and runs with the longest it is allowed."""
    if "num_virtual_tokens" not in small_config(case).fields():
        pytest.skip("it has no virtual tokens")
    config = small_config(case)
    longest = (bert.shape.max_positions - 10) * config.num_virtual_tokens // config.row_tokens
    assert small_config(case, longest).problems(bert.shape, max_length=10) == []
    ids, mask = texts(1, 10)
    assert run(bert, build(case, bert, num_virtual_tokens=longest), ids, mask, [0]).isfinite().all()
    longer = build(case, bert, num_virtual_tokens=longest + 1)
    refused = longer.config.problems(bert.shape, max_length=10)
    if refused:
        with pytest.raises(RuntimeError):
            run(bert, longer, ids, mask, [0])
    else:  # its virtual tokens take no positions
        assert run(bert, longer, ids, mask, [0]).isfinite().all()


def test_it_is_described_as_it_is(case: str) -> None:
    """Without torch, as `promptfront methods` and the study file read it."""
    name = case.partition(" ")[0]
    module, described = methods.get(name), methods.describe(name)
    assert (described.title, described.baseline) == (module.Method.title, module.Method.baseline)
    assert described.config().to_dict() == module.Config().to_dict()
    assert described.config.head_fields == module.Config.head_fields
    assert described.config.space() == module.Config.space()
    for one, other in zip(described.config.fields().values(), module.Config.fields().values(), strict=True):
        assert (one.name, one.default, one.metadata) == (other.name, other.default, other.metadata)


def test_it_opens_with_what_it_is(case: str) -> None:
    module = methods.get(case.partition(" ")[0])
    assert module.__doc__
    assert module.Method.title
    assert module.Method.__doc__
    assert module.Config.__doc__
    assert not module.Config.__doc__.startswith("Config("), "what a dataclass says where nothing is written"


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
