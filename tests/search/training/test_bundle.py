"""Bundles: trials of one structure train as each would alone, with operations that hardly grow with their number."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, BertConfig

import methods
from methods.backbone import attention
from methods.backbone.backbone import Backbone
from search.config.study_config import TrainingConfig
from search.tasks import Row, Split, Task
from search.tasks.label_problems import OneLabel
from search.tasks.token_classification import TokenClassification
from search.training import checkpoint
from search.training.checkpoint_folder import CheckpointFolder
from search.training.evaluation import predict
from search.training.steps.bundle import Bundle, structure
from search.training.steps.pack import Pack
from search.training.trial import Trial
from tests.methods.building import cases, small_config

SETTINGS = TrainingConfig(
    max_steps=60,
    eval_steps=60,
    per_device_train_batch_size=4,
    task_sampling="proportional",
    weight_decay=0.01,
)
SIZES: Sequence[dict[str, Any]] = (
    {"num_virtual_tokens": 3, "pool_size": 4, "top_k": 1, "mlp_width": 5, "dropout": 0.3},
    {
        "num_virtual_tokens": 5,
        "pool_size": 6,
        "top_k": 3,
        "mlp_width": 9,
        "selector_rate": 0.5,
        "readout": "first",
    },
    {"num_virtual_tokens": 2, "pool_size": 5, "top_k": 2, "mlp_width": 7, "dropout": 0.2, "readout": "last"},
)
"""The sizes in which trials of one structure may differ; a method takes those that it has."""

VARIANTS = [
    *(case for case in cases() if methods.get(case.partition(" ")[0]).Method.private_backbone is False),
    "prompt_tuning placement=around",
    "prompt_pool placement=after",
    "p_tuning_v2 shift_positions=True",
]


def backbone_of(dtype: torch.dtype = torch.float64, **shape: int) -> Backbone:
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    } | shape
    config = BertConfig(vocab_size=60, max_position_embeddings=64, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Backbone(AutoModel.from_config(config, attn_implementation=attention.IMPLEMENTATION).to(dtype))


def made_rows(count: int, tags: bool, length: int | None = None) -> list[Row]:
    """Random texts of 3 to 9 tokens; each token, or the whole text, has one of three labels."""
    draw, rows = random.Random(int(tags)), []
    for _ in range(count):
        ids = [draw.randrange(5, 60) for _ in range(length or draw.randrange(3, 10))]
        read = list(range(1, len(ids))) if tags else None
        rows.append(Row(ids, [draw.randrange(3) for _ in read or range(1)], read))
    return rows


def one_label(count: int = 24, length: int | None = None) -> Task:
    split = Split(made_rows(count, tags=False, length=length), sha256="")
    return OneLabel(
        name="topics", metric="accuracy", labels=("a", "b", "c"), label_ids=[[5], [6], [7]],
        splits={"train": split, "validation": split}, encode=lambda text: [8, 9],
    )  # fmt: skip


def tagging() -> Task:
    split = Split(made_rows(7, tags=True), sha256="")
    return TokenClassification(
        name="tags", metric="accuracy", labels=("a", "b", "c"), label_ids=[[5], [6], [7]],
        splits={"train": split, "validation": split}, encode=lambda text: [8, 9],
    )  # fmt: skip


def trial_of(
    case: str,
    backbone: Backbone,
    tasks: Sequence[Task],
    number: int,
    settings: TrainingConfig = SETTINGS,
    **fixed: Any,
) -> Trial:
    module = methods.get(case.partition(" ")[0])
    fields = module.Config.fields()
    given = {name: value for name, value in SIZES[number % len(SIZES)].items() if name in fields}
    if "=" in case:
        given = {name: value for name, value in given.items() if f"{name}=" not in case}
    given |= {name: value for name, value in fixed.items() if name in fields}
    given["learning_rate"] = (0.01, 0.003, 0.02)[number % 3]
    config = small_config(case, **{"num_virtual_tokens": 5} | given)
    weights = [0.3 + 0.1 * number, 0.7 - 0.1 * number][: len(tasks)]
    trial = Trial(module.Method, config, backbone, tasks, weights, settings, seed=number)
    dtype = backbone.embeddings.dtype
    trial.method.to(dtype)
    trial.heads.to(dtype)
    return trial


def alone(trial: Trial, steps: int) -> list[float]:
    pack = Pack()
    pack.attach(trial)
    return [float(loss) for _ in range(steps) for loss in pack.step()]


def bundled(trials: Sequence[Trial]) -> Pack:
    pack = Pack()
    for trial in trials:
        pack.attach(trial)
    return pack


def only_bundles(pack: Pack) -> bool:
    return all(isinstance(member, Bundle) for member in pack._members)


@pytest.mark.parametrize("case", VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_a_bundle_equals_its_trials(case: str, dtype: torch.dtype, tolerance: float) -> None:
    backbone, tasks = backbone_of(dtype), (one_label(), tagging())
    together = bundled([trial_of(case, backbone, tasks, number) for number in range(3)])
    losses = [together.step() for _ in range(50)]
    assert len(together._members) == 1
    assert only_bundles(together)
    for number, trial in enumerate(together.trials):
        solo = trial_of(case, backbone, tasks, number)
        expected = alone(solo, 50)
        assert [step[number] for step in losses] == pytest.approx(expected, rel=tolerance)
        for one, other in zip(solo.parameters, trial.parameters, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
        for one, other in zip(solo.method.buffers(), trial.method.buffers(), strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=50 * tolerance)
        assert solo.method.metrics() == pytest.approx(trial.method.metrics(), abs=100 * tolerance)


def test_a_task_without_rows_in_a_batch_leaves_its_head_as_it_is() -> None:
    """The tags are 7 of 31 rows, so that some batches of four have none."""
    backbone, tasks = backbone_of(), (one_label(), tagging())
    trial = trial_of("prompt_tuning", backbone, tasks, 0)
    there = [1 in trial.batch().tasks for trial.step in range(50)]
    assert not all(there)
    assert any(there)


def test_trials_join_and_leave_without_the_others_noticing() -> None:
    backbone, tasks = backbone_of(), (one_label(), tagging())
    names = ["prompt_tuning", "p_tuning_v2", "prompt_tuning", "prompt_pool", "p_tuning_v2", "head_only"]
    trials = [trial_of(name, backbone, tasks, number) for number, name in enumerate(names)]
    pack, losses = bundled(trials[:2]), {number: list[float]() for number in range(len(names))}
    for step in range(30):
        if step in (3, 5, 9, 12):
            pack.attach(trials[{3: 2, 5: 3, 9: 4, 12: 5}[step]])
        if step in (15, 21):
            pack.detach(trials[{15: 0, 21: 4}[step]])
        for trial, loss in zip(pack.trials, pack.step(), strict=True):
            losses[trials.index(trial)].append(loss)
    for number, name in enumerate(names):
        expected = alone(trial_of(name, backbone, tasks, number), len(losses[number]))
        assert losses[number] == pytest.approx(expected, rel=1e-10), name


def test_forwards_of_fewer_rows_give_the_same_step() -> None:
    backbone, tasks = backbone_of(), (one_label(), tagging())
    whole, halved = (
        bundled([trial_of("multitask", backbone, tasks, number) for number in range(3)]) for _ in range(2)
    )
    assert halved.halve()
    for _ in range(10):
        assert whole.step() == pytest.approx(halved.step(), rel=1e-10)


def test_a_checkpoint_from_a_bundle_goes_on_alone(tmp_path: Path) -> None:
    backbone, tasks = backbone_of(), (one_label(), tagging())
    pack = bundled([trial_of("prompt_pool", backbone, tasks, number) for number in range(3)])
    for _ in range(7):
        pack.step()
    folder = CheckpointFolder(tmp_path)
    checkpoint.save(pack.trials[2], folder)
    resumed = trial_of("prompt_pool", backbone, tasks, 2)
    assert checkpoint.restore(resumed, folder)
    rest = alone(resumed, 8)
    assert rest == pytest.approx([float(pack.step()[2]) for _ in range(8)], rel=1e-10)


@pytest.mark.parametrize("case", VARIANTS)
def test_a_trial_is_evaluated_as_its_bundle_left_it(case: str) -> None:
    backbone, tasks = backbone_of(), (one_label(), tagging())
    pack = bundled([trial_of(case, backbone, tasks, number) for number in range(2)])
    solo = trial_of(case, backbone, tasks, 1)
    for steps in (3, 4):
        for _ in range(steps):
            pack.step()
        for index, task in enumerate(tasks):
            predict(pack.trials[1], index, task.splits["validation"], backbone, 8)
    alone(solo, 7)
    for index, task in enumerate(tasks):
        split = task.splits["validation"]
        found = predict(pack.trials[1], index, split, backbone, 8)
        for one, other in zip(predict(solo, index, split, backbone, 8), found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_diverged_trial_leaves_its_bundle_as_it_is() -> None:
    backbone, tasks = backbone_of(), (one_label(), tagging())
    for case in ("prompt_pool", "p_tuning", "p_tuning_v2", "multitask", "prefix_tuning", "head_only"):
        pack = bundled([trial_of(case, backbone, tasks, number) for number in range(3)])
        pack.step()
        with torch.no_grad():
            for parameter in pack.trials[1].parameters:
                parameter.fill_(float("inf"))
        losses = [pack.step() for _ in range(3)]
        assert all(isinstance(step[1], ArithmeticError) for step in losses), case
        for number in (0, 2):
            _, *expected = alone(trial_of(case, backbone, tasks, number), 4)
            assert [step[number] for step in losses] == pytest.approx(expected, rel=1e-10), case


def test_what_differs_in_structure_is_not_bundled() -> None:
    backbone, tasks = backbone_of(torch.float32), (one_label(),)
    one = trial_of("prompt_tuning", backbone, tasks, 0)
    assert structure(one) == structure(trial_of("prompt_tuning", backbone, tasks, 1))
    for case in ("prompt_tuning placement=after", "p_tuning", "head_only"):
        assert structure(one) != structure(trial_of(case, backbone, tasks, 0))
    assert structure(one) != structure(trial_of("prompt_tuning", backbone, (one_label(),), 0)), "another task"
    assert structure(trial_of("full", backbone, tasks, 0)) is None
    assert structure(trial_of("prompt_tuning readout=model", backbone, tasks, 0)) is None


class Operations(TorchDispatchMode):
    """Counts what is dispatched, views left out."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def operations(backbone: Backbone, task: Task, names: Sequence[str], **fixed: Any) -> int:
    """The operations of the second step of a pack. Dropout is left out: its draws are each trial's own."""
    settings = TrainingConfig(max_steps=1000, eval_steps=1000, per_device_train_batch_size=8)
    fixed |= {"dropout": 0.0}
    pack = bundled(
        [trial_of(name, backbone, (task,), number, settings, **fixed) for number, name in enumerate(names)]
    )
    pack.step()
    with Operations() as found:
        pack.step()
    return found.count


@pytest.mark.parametrize("case", VARIANTS)
def test_operations_hardly_grow_with_the_trials(case: str) -> None:
    backbone, task = backbone_of(torch.float32, num_hidden_layers=12), one_label(count=600, length=8)
    most = 2.5 if case == "p_tuning" else 1.5
    solo = operations(backbone, task, [case], num_virtual_tokens=5)  # the longest of the 16
    packed = operations(backbone, task, [case] * 16)
    print(f"{case}: {solo} alone, {packed} for 16, {packed / solo:.2f}")
    assert packed <= most * solo


def test_operations_of_four_methods_together() -> None:
    backbone, task = backbone_of(torch.float32, num_hidden_layers=12), one_label(count=600, length=8)
    four = ["prompt_tuning", "p_tuning_v2", "prompt_pool", "multitask"]
    solo = max(operations(backbone, task, [case]) for case in four)
    packed = operations(backbone, task, four * 4)
    print(f"four methods: at most {solo} alone, {packed} for 16, {packed / solo:.2f}")
    assert packed <= 3 * solo


def test_operations_of_a_long_lstm() -> None:
    """They grow with the virtual tokens, whose states depend on each other, but not with the trials."""
    backbone, task = backbone_of(torch.float32, num_hidden_layers=12), one_label(count=600, length=8)
    solo, packed = (
        operations(backbone, task, ["p_tuning"] * trials, num_virtual_tokens=20) for trials in (1, 16)
    )
    assert packed <= 2.5 * solo, f"{solo} alone, {packed} for 16"
