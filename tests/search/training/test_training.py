"""Training: packed equals solo, checkpoints go on exactly, what diverges fails alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from search.config.study_config import TrainingConfig
from search.tasks import Task
from search.training import checkpoint
from search.training.checkpoint_folder import CheckpointFolder
from search.training.evaluation import predict
from search.training.steps.pack import Pack
from search.training.trial import DivergedError, Trial, learning_rate_factor

SETTINGS = TrainingConfig(
    max_steps=40, eval_steps=10, per_device_train_batch_size=4, lr_scheduler_type="cosine"
)


def make(
    name: str,
    backbone: Backbone,
    task: Task,
    *,
    seed: int = 0,
    settings: TrainingConfig = SETTINGS,
    **given: Any,
) -> Trial:
    module = methods.get(name)
    return Trial(module.Method, module.Config(**given), backbone, [task], [1.0], settings, seed)


def several(backbone: Backbone, task: Task) -> list[Trial]:
    """Trials of every method, of different lengths, learning rates and seeds."""
    return [
        make("head_only", backbone, task, learning_rate=0.03),
        make("prompt_tuning", backbone, task, seed=1, num_virtual_tokens=3, learning_rate=0.1),
        make(
            "prompt_tuning", backbone, task, seed=2, num_virtual_tokens=7, learning_rate=0.01, readout="first"
        ),
        make("p_tuning_v2", backbone, task, seed=3, num_virtual_tokens=5, dropout=0.2, learning_rate=0.02),
        make("prefix_tuning", backbone, task, seed=4, num_virtual_tokens=4, learning_rate=0.02),
        make("prefix_tuning", backbone, task, seed=5, num_virtual_tokens=2, parameterization="mlp"),
        make("p_tuning", backbone, task, seed=6, num_virtual_tokens=6, placement="around", readout="model"),
        make("prompt_pool", backbone, task, seed=7, num_virtual_tokens=2, pool_size=4),
        make("prompt_pool", backbone, task, seed=8, num_virtual_tokens=2, selection="mix", site="key_value"),
        make("multitask", backbone, task, seed=9, num_virtual_tokens=3, pool_size=4),
    ]


def train(pack: Pack, steps: int) -> list[list[float]]:
    losses = []
    for _ in range(steps):
        found = pack.step()
        assert all(isinstance(loss, float) for loss in found)
        losses.append(found)
    return losses


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_packed_equals_solo(dtype: torch.dtype, tolerance: float, tiny_model: Path, task: Task) -> None:
    backbone = Backbone.load(str(tiny_model), dtype=dtype)
    packed, solo = several(backbone, task), several(backbone, task)
    for trial in (*packed, *solo):
        for module in (trial.method, trial.heads):
            module.to(dtype)
    pack = Pack()
    for trial in packed:
        pack.attach(trial)
    together = train(pack, 40)
    for index, trial in enumerate(solo):
        alone = Pack()
        alone.attach(trial)
        losses = [loss for (loss,) in train(alone, 40)]
        assert losses == pytest.approx([step[index] for step in together], rel=tolerance)
        for one, other in zip(trial.parameters, packed[index].parameters, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_training_learns_and_leaves_the_backbone_alone(backbone: Backbone, task: Task) -> None:
    before = backbone.fingerprint()
    settings = TrainingConfig(max_steps=40, eval_steps=40)
    trial = make(
        "prompt_tuning",
        backbone,
        task,
        num_virtual_tokens=4,
        learning_rate=0.1,
        head_learning_rate=0.1,
        settings=settings,
    )
    pack = Pack()
    pack.attach(trial)
    losses = [loss for (loss,) in train(pack, 40)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert backbone.fingerprint() == before


@pytest.mark.parametrize("name", methods.names())
def test_a_checkpoint_goes_on_exactly(name: str, backbone: Backbone, task: Task, tmp_path: Path) -> None:
    given = {"dropout": 0.2} if name == "p_tuning_v2" else {}

    def started() -> tuple[Trial, Pack]:
        trial, pack = make(name, backbone, task, **given), Pack()
        pack.attach(trial)
        return trial, pack

    whole, straight = started()
    first, interrupted = started()
    resumed, rest = started()
    expected = train(straight, 20)
    losses = train(interrupted, 9)
    folder = CheckpointFolder(tmp_path)
    checkpoint.save(first, folder)
    assert checkpoint.restore(resumed, folder)
    assert resumed.step == 9
    assert losses + train(rest, 11) == expected
    for one, other in zip(whole.parameters, resumed.parameters, strict=True):
        assert torch.equal(one, other)


def test_a_trial_that_trains_a_copy_has_a_pack_of_its_own(backbone: Backbone, task: Task) -> None:
    pack = Pack()
    pack.attach(make("head_only", backbone, task))
    with pytest.raises(ValueError, match="needs a pack of its own"):
        pack.attach(make("full", backbone, task))


def test_a_damaged_checkpoint_costs_one_interval(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    trial = make("prompt_tuning", backbone, task, num_virtual_tokens=4)
    pack = Pack()
    pack.attach(trial)
    for _ in range(3):
        train(pack, 2)
        last = Path(checkpoint.save(trial, CheckpointFolder(tmp_path / "trial")))
    assert len(list((tmp_path / "trial").iterdir())) == 2, "the last two are kept, and nothing else"
    last.write_bytes(last.read_bytes()[:100])
    fresh = make("prompt_tuning", backbone, task, num_virtual_tokens=4)
    assert checkpoint.restore(fresh, CheckpointFolder(tmp_path / "trial"))
    assert fresh.step == 4


def test_without_a_checkpoint_nothing_is_restored(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    assert not checkpoint.restore(make("head_only", backbone, task), CheckpointFolder(tmp_path))


def test_a_diverged_trial_leaves_the_others_as_they_are(backbone: Backbone, task: Task) -> None:
    alone = make("prompt_tuning", backbone, task, seed=1, num_virtual_tokens=3)
    solo = Pack()
    solo.attach(alone)
    expected = [loss for (loss,) in train(solo, 3)]
    healthy, broken = (
        make("prompt_tuning", backbone, task, seed=seed, num_virtual_tokens=3) for seed in (1, 2)
    )
    with torch.no_grad():
        broken.method.prompt.fill_(float("nan"))
    pack = Pack()
    pack.attach(broken)
    pack.attach(healthy)
    failure, loss = pack.step()
    assert isinstance(failure, DivergedError)
    assert "nan at step 1" in str(failure)
    pack.detach(broken)
    assert [loss, *(one for (one,) in train(pack, 2))] == pytest.approx(expected, rel=1e-4)


def test_predictions_do_not_depend_on_the_batch(backbone: Backbone, task: Task) -> None:
    trial = make("prompt_tuning", backbone, task, num_virtual_tokens=4)
    split = task.splits["validation"]

    def logits(batch_size: int) -> torch.Tensor:
        return torch.cat(predict(trial, 0, split, backbone, batch_size))

    assert logits(64).shape == (len(split), len(task.labels))
    torch.testing.assert_close(logits(64), logits(1), rtol=1e-4, atol=1e-5)


def test_counts_are_of_the_tensors_there_are(backbone: Backbone, task: Task) -> None:
    counts = make("prompt_tuning", backbone, task, num_virtual_tokens=4).counts
    hidden = backbone.shape.hidden_size
    expected = (4 * hidden, 4 * hidden, (hidden + 1) * len(task.labels))
    assert dataclasses.astuple(counts) == expected


def test_head_only_trains_its_head_at_its_own_rate(backbone: Backbone, task: Task) -> None:
    assert make("head_only", backbone, task, learning_rate=0.05).optimizer.param_groups[0]["peak"] == 0.05
    rates = {"learning_rate": 0.05, "head_learning_rate": 0.02}
    groups = make("prompt_tuning", backbone, task, **rates).optimizer.param_groups
    assert [group["peak"] for group in groups] == [0.05, 0.02]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_learning_rate_warms_up_and_falls(schedule: str) -> None:
    settings = TrainingConfig(max_steps=100, eval_steps=10, warmup_ratio=0.1, lr_scheduler_type=schedule)
    factors = [learning_rate_factor(settings, step) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] == pytest.approx(
        {"linear": 1 / 90, "cosine": 0.0, "constant": 1.0}[schedule], abs=1e-3
    )
    assert all(math.isfinite(factor) and factor >= 0 for factor in factors)
