"""A backbone in bfloat16: every method trains in float32, and learns what it learns on a float32 backbone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import methods
from methods.backbone.backbone import Backbone
from search import tasks
from search.config import study_file
from search.config.study_config import TrainingConfig
from search.tasks import Task
from search.training import checkpoint
from search.training.checkpoint_folder import CheckpointFolder
from search.training.steps.pack import Pack
from search.training.trial import Trial
from tests.search.conftest import write_study

BASELINES = ("full", "lora")
SETTINGS = TrainingConfig(
    max_steps=20, eval_steps=20, per_device_train_batch_size=8, warmup_ratio=0, lr_scheduler_type="constant"
)


@pytest.fixture
def half(tiny_model: Path) -> Backbone:
    """A tiny BERT in bfloat16."""
    return Backbone.load(str(tiny_model), dtype=torch.bfloat16)


@pytest.fixture
def task(study: dict[str, Any], tmp_path: Path, tiny_tokenizer: Any) -> Task:
    config = study_file.load(write_study(study, tmp_path))
    return tasks.load(config.tasks[0], tiny_tokenizer, 12, seed=0)


def make(name: str, backbone: Backbone, task: Task) -> tuple[Trial, Pack]:
    """A trial with the method's defaults, and its pack."""
    module, pack = methods.get(name), Pack()
    trial = Trial(module.Method, module.Config(), backbone, [task], [1.0], SETTINGS, seed=0)
    pack.attach(trial)
    return trial, pack


def train(pack: Pack, steps: int) -> list[float]:
    """Takes steps of a pack's only trial; returns their losses."""
    return [float(loss) for _ in range(steps) for loss in pack.step()]  # type: ignore[arg-type]


def way(name: str, backbone: Backbone, task: Task) -> Tensor:
    """How far 20 steps move each scalar of the method; of the head, if the method has none."""
    trial, pack = make(name, backbone, task)
    moving = [p for p in trial.method.parameters() if p.requires_grad] or list(trial.heads.parameters())
    start = [parameter.detach().clone() for parameter in moving]
    train(pack, 20)
    return torch.cat([(p.detach() - before).flatten() for p, before in zip(moving, start, strict=True)])


@pytest.mark.parametrize("name", methods.names())
def test_what_is_trained_is_float32_and_moves(name: str, half: Backbone, task: Task) -> None:
    trial, pack = make(name, half, task)
    assert {parameter.dtype for parameter in trial.parameters} == {torch.float32}
    start = [parameter.detach().clone() for parameter in trial.parameters]
    train(pack, 5)
    moved = pushed = 0
    for parameter, before in zip(trial.parameters, start, strict=True):
        state = trial.optimizer.state[parameter]
        assert {state[key].dtype for key in ("exp_avg", "exp_avg_sq")} == {torch.float32}
        has_gradient = state["exp_avg"] != 0  # an unseen token's embedding has none
        pushed += int(has_gradient.sum())
        moved += int((has_gradient & (parameter != before)).sum())
    assert moved > 0.99 * pushed
    assert half.embeddings.dtype == trial.backbone.embeddings.dtype == torch.bfloat16


def test_bfloat16_costs_the_baselines_no_more_than_the_prompts(half: Backbone, task: Task) -> None:
    """Each method's way from the same start on the same weights, in bfloat16 and in float32."""
    whole = Backbone(copy.deepcopy(half.model).float())
    deviation = {}
    for name in methods.names():
        expected = way(name, whole, task)
        deviation[name] = float((way(name, half, task) - expected).norm() / expected.norm())
    prompts = [value for name, value in deviation.items() if not methods.get(name).Method.baseline]
    assert 0 < max(prompts) < 0.5, "prompts go the same way, so they are a yardstick"
    for name, value in deviation.items():
        assert value <= 2 * max(prompts), f"{name} goes another way in bfloat16: {deviation}"


@pytest.mark.parametrize("name", BASELINES)
def test_a_step_in_two_parts_is_the_same_step(name: str, half: Backbone, task: Task) -> None:
    ways = []
    for parts in (1, 2):
        trial, pack = make(name, half, task)
        start = [parameter.detach().clone() for parameter in trial.parameters]
        pack.gradient_accumulation_steps = parts
        train(pack, 3)
        moved = [(p.detach() - before).flatten() for p, before in zip(trial.parameters, start, strict=True)]
        ways.append(torch.cat(moved))
        assert all(parameter.grad is None for parameter in trial.backbone.model.parameters())
    assert float((ways[0] - ways[1]).norm() / ways[0].norm()) < 0.05, (
        "without one of the parts it is above 0.5"
    )


@pytest.mark.parametrize("name", BASELINES)
def test_a_checkpoint_goes_on_exactly(name: str, half: Backbone, task: Task, tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path / "checkpoints"))
    trial, pack = make(name, half, task)
    train(pack, 4)
    checkpoint.save(trial, folder)
    other, continued = make(name, half, task)
    assert checkpoint.restore(other, folder) is not None
    assert train(continued, 4) == train(pack, 4)
    for one, two in zip(trial.parameters, other.parameters, strict=True):
        assert torch.equal(one, two)
