"""Search spaces: a method's own, the study file's changes, and Optuna's view of both."""

from __future__ import annotations

import optuna
import pytest

import methods
from methods.backbone.shape import Shape
from methods.space import Choice, Float, Int, Scalar
from search.config import kinds, spaces
from search.config.values import RangeConfig
from search.errors import StudyFileError
from search.strategy import sampling

SHAPE = Shape(
    architecture="encoder",
    hidden_size=16,
    embedding_size=16,
    vocab_size=40,
    sites={},
    layers=1,
    heads=1,
    max_positions=40,
    shifts_text=True,
    sliding_window=False,
    parameters=1,
    model_head=True,
)


@pytest.mark.parametrize("method", methods.names())
def test_without_overrides_it_is_the_methods_own(method: str) -> None:
    space = spaces.space(method, {})
    config = methods.get(method).Config
    assert space.fixed == {}
    assert space.ranges == config.space()
    assert spaces.make_config(method, spaces.default_params(method, space), space) == config()


def test_a_value_fixes_a_list_chooses_a_range_narrows() -> None:
    space = spaces.space(
        "prompt_tuning",
        {"learning_rate": 1, "init": ["vocab", "labels"], "num_virtual_tokens": RangeConfig(min=4, max=9)},
    )
    assert space.fixed == {"learning_rate": 1.0}
    assert isinstance(space.fixed["learning_rate"], float)
    assert (
        space.ranges.pop("head_learning_rate")
        == methods.get("prompt_tuning").Config.space()["head_learning_rate"]
    )
    assert space.ranges == {"init": Choice(("vocab", "labels")), "num_virtual_tokens": Int(4, 9)}


def test_without_a_trained_head_nothing_about_heads_is_searched() -> None:
    writing = kinds.parse(
        {"name": "w", "kind": "text_generation", "source": "s", "target": "t", "data": {"path": "x"}}
    )
    topics = kinds.parse({"name": "t", "text": "x", "label": "y", "data": {"path": "x"}})
    whole = spaces.space("p_tuning_v2", {}, [topics, writing]).ranges
    assert whole == methods.get("p_tuning_v2").Config.space()
    assert spaces.space("p_tuning_v2", {}, [writing]).ranges == {
        name: range_ for name, range_ in whole.items() if name != "head_learning_rate"
    }
    assert spaces.space("head_only", {}, [writing]).ranges == {}
    with pytest.raises(StudyFileError, match=r"readout: has no effect on the study's tasks"):
        spaces.space("head_only", {"readout": ["first", "mean"]}, [writing])


def test_a_list_of_one_is_a_value() -> None:
    space = spaces.space("head_only", {"readout": ["first"]})
    assert space.fixed == {"readout": "first"}
    assert "readout" not in space.ranges


def test_what_is_not_searched_by_default_can_be() -> None:
    space = spaces.space("p_tuning_v2", {"dropout": RangeConfig(min=0, max=0.5)})
    assert space.ranges["dropout"] == Float(0.0, 0.5)


def test_distributions_are_optunas() -> None:
    space = spaces.space("prompt_tuning", {"num_virtual_tokens": RangeConfig(min=4, max=9, log=True)})
    found = sampling.distributions(space)
    assert found["num_virtual_tokens"] == optuna.distributions.IntDistribution(4, 9, log=True)
    assert isinstance(found["learning_rate"], optuna.distributions.FloatDistribution)
    assert isinstance(found["init"], optuna.distributions.CategoricalDistribution)


def test_what_optuna_draws_makes_a_configuration() -> None:
    space = spaces.space("prompt_tuning", {"readout": "first"})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    fits = []
    for _ in range(20):
        params = study.ask(sampling.distributions(space)).params
        assert params.keys() == space.ranges.keys()
        config = spaces.make_config("prompt_tuning", params, space)
        assert {name: getattr(config, name) for name in params} == params
        assert config.readout == "first"
        fits.append(config.problems(SHAPE, 12) == [])
        assert fits[-1] == (params["num_virtual_tokens"] <= 40 - 12), "positions that the text leaves"
    assert set(fits) == {True, False}, "both are among what is drawn"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (RangeConfig(min=2, max=6), 6),
        (RangeConfig(min=40, max=60), 40),
        (RangeConfig(min=10, max=60), 20),
        ([3, 5], 3),
        ([3, 20], 20),
    ],
)
def test_the_first_trial_is_the_default_as_near_as_the_file_allows(override: object, expected: int) -> None:
    space = spaces.space("prompt_tuning", {"num_virtual_tokens": override})
    assert spaces.default_params("prompt_tuning", space)["num_virtual_tokens"] == expected


def test_every_mistake_is_named() -> None:
    with pytest.raises(StudyFileError) as caught:
        spaces.space("prompt_tuning", {"lr": 1, "init": "lables"})
    assert "methods.prompt_tuning.lr" in str(caught.value)
    assert "did you mean labels?" in str(caught.value)


def test_corners_are_all_combinations_of_ends() -> None:
    ranges = {"a": Int(1, 3), "b": Choice((True, False, "x"))}
    assert len(list(spaces.corners(ranges))) == 6
    many = {str(i): Int(1, 3) for i in range(12)}
    assert [set(corner.values()) for corner in spaces.corners(many)] == [{1}, {3}]
    assert list(spaces.corners({})) == [{}]


def test_the_middle_is_on_the_ranges_own_scale() -> None:
    ranges = {"a": Float(0.01, 1, log=True), "b": Int(4, 9), "c": Choice(("x", "y", "z"))}
    assert spaces.middle(ranges) == {"a": pytest.approx(0.1), "b": 6, "c": "y"}


def test_a_prompt_longer_than_the_positions_leave_is_a_problem() -> None:
    space = spaces.space("prompt_tuning", {})
    (problem,) = spaces.corner_problems("prompt_tuning", space, SHAPE, max_length=12)
    assert problem.path == "methods.prompt_tuning.num_virtual_tokens"
    assert problem.text.startswith("must be at most 28, not 100")


def test_a_text_is_a_value_or_a_choice_of_texts() -> None:
    space = spaces.space("prompt_tuning", {"init": "text", "init_text": ["a topic", "a subject"]})
    assert space.ranges["init_text"] == Choice(("a topic", "a subject"))
    assert spaces.default_params("prompt_tuning", space)["init_text"] == "a topic"
    with pytest.raises(StudyFileError, match=r"init_text: must be a text in quotes, not 3"):
        spaces.space("prompt_tuning", {"init_text": 3})
    with pytest.raises(StudyFileError, match=r"init_text: must be a text or a list of texts, not a range"):
        spaces.space("prompt_tuning", {"init_text": RangeConfig(min=1, max=2)})


def test_what_never_applies_is_not_searched_and_may_not_be_set() -> None:
    mixed = spaces.space("prompt_pool", {"selection": "mix", "temperature": RangeConfig(min=0.01, max=1)})
    assert "temperature" in mixed.ranges
    assert "top_k" not in mixed.ranges
    assert "top_k" in spaces.space("prompt_pool", {}).ranges
    with pytest.raises(
        StudyFileError,
        match=r"top_k: has no effect unless selection is 'top_k', which the study does not try",
    ):
        spaces.space("prompt_pool", {"selection": ["mix"], "top_k": [1, 3]})
    with pytest.raises(StudyFileError, match=r"mlp_width: has no effect unless parameterization is 'mlp'"):
        spaces.space("prefix_tuning", {"parameterization": "hidden", "mlp_width": 256})
    spaces.space("prompt_tuning", {"init": "vocab", "init_text": ""})  # the default, spelled out


def test_what_does_not_apply_makes_no_other_trial() -> None:
    space, weights = spaces.space("prompt_pool", {}), spaces.Space({"loss_weight.topics": 1.0}, {})
    params = spaces.default_params("prompt_pool", space)

    def config(**changed: Scalar) -> dict[str, Scalar]:
        found: dict[str, Scalar] = spaces.resolved("prompt_pool", params | changed, space, weights)["config"]
        return found

    assert config(selection="mix", top_k=1) == config(selection="mix", top_k=3)
    assert config(selection="top_k", top_k=1) != config(selection="top_k", top_k=3)
    assert "temperature" in config(selection="mix")
    assert "temperature" not in config(selection="top_k")


def test_a_readout_that_no_task_has_is_not_searched() -> None:
    tags = kinds.parse(
        {"name": "t", "kind": "token_classification", "text": "x", "label": "y", "data": {"path": "x"}}
    )
    space = spaces.space("head_only", {}, [tags])
    assert set(space.ranges) == {"learning_rate"}
    weights = spaces.loss_weights([tags])
    made = spaces.resolved("head_only", {"learning_rate": 0.1}, space, weights)
    assert made["config"] == {"learning_rate": 0.1}
    (problem,) = spaces.problems("head_only", {"readout": "first"}, [tags])
    assert problem.text == "has no effect on the study's tasks"
