"""Methods that learn to write on both architectures, saved ones, and what a check says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from methods.parameters import trained_parameters
from methods.saved import folder as saved
from search import tasks
from search.config import kinds, study_file
from search.config.study_config import TrainingConfig
from search.errors import StudyFileError
from search.plan import check
from search.training.evaluation import evaluate, predict
from search.training.steps.pack import Pack
from search.training.trial import Trial
from tests.search.conftest import write_study
from tests.search.tasks.writing import PAIRS, load, model_folder, settings

METHODS = ("prompt_tuning", "p_tuning_v2", "prefix_tuning", "prompt_pool", "multitask", "full", "lora")


def trial(name: str, backbone: Backbone, task: Any, steps: int = 60, **config: Any) -> Trial:
    module = methods.get(name)
    training = TrainingConfig(
        max_steps=steps, eval_steps=steps, per_device_train_batch_size=4, lr_scheduler_type="constant"
    )
    return Trial(module.Method, module.Config(**config), backbone, [task], [1.0], training, 0)


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_to_write(name: str, tmp_path: Path, writing_folder: Path, writing_tokenizer: Any) -> None:
    backbone = Backbone.load(str(writing_folder), language_model=True)
    task = load(tmp_path, writing_tokenizer, backbone.shape.architecture)
    before = backbone.fingerprint()
    mine = trial(name, backbone, task, learning_rate=0.01 if name in ("full", "lora") else 0.05)
    assert mine.counts.head_parameters == 0
    split = task.splits["validation"]
    untrained = evaluate(mine, 0, split, backbone, 4)
    pack = Pack()
    pack.attach(mine)
    for _ in range(60):
        pack.step()
    for one, other in zip(*(predict(mine, 0, split, backbone, size) for size in (4, 1)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    found = evaluate(mine, 0, split, backbone, 4)
    assert len(found.predictions) == 3
    assert found.metrics["perplexity"] < 0.99 * untrained.metrics["perplexity"]
    assert found.targets[1] == "the dog is near the map / a dog was near the map"
    assert backbone.fingerprint() == before


def test_a_model_that_is_trained_whole_writes_the_targets(
    tmp_path: Path, writing_folder: Path, writing_tokenizer: Any
) -> None:
    backbone = Backbone.load(str(writing_folder), language_model=True)
    task = load(
        tmp_path, writing_tokenizer, backbone.shape.architecture, pairs=[PAIRS[0], PAIRS[1], PAIRS[3]]
    )
    mine = trial("full", backbone, task, 200, learning_rate=1e-2)
    pack = Pack()
    pack.attach(mine)
    for _ in range(200):
        pack.step()
    found = evaluate(mine, 0, task.splits["validation"], backbone, 4)
    assert found.predictions == [target for _, target in (PAIRS[0], PAIRS[1], PAIRS[3])]
    assert found.metrics["exact_match"] == found.score == 1
    assert found.examples == [1.0] * 3


@pytest.mark.parametrize("name", ["prompt_tuning", "p_tuning_v2", "multitask", "prompt_pool"])
def test_writing_and_labelling_share_a_step(
    name: str, tmp_path: Path, writing_folder: Path, writing_tokenizer: Any
) -> None:
    """Of an encoder-decoder the rows of one go through both parts, those of the other through the encoder alone."""
    backbone = Backbone.load(str(writing_folder), language_model=True)
    content = settings(tmp_path)
    labelled = {"name": "which", "text": "source", "label": "target", "data": content["data"]}
    tasks_ = [
        tasks.load(kinds.parse(each), writing_tokenizer, 16, 0, architecture=backbone.shape.architecture)
        for each in (content, labelled)
    ]
    training = TrainingConfig(
        max_steps=40, eval_steps=40, per_device_train_batch_size=8, task_sampling="equal"
    )
    module = methods.get(name)
    config = module.Config(learning_rate=0.05)
    both, again = (
        Trial(module.Method, config, backbone, tasks_, [0.5, 0.5], training, seed) for seed in (0, 1)
    )
    alone = Trial(module.Method, config, backbone, tasks_, [0.5, 0.5], training, 0)
    packed, solo = Pack(), Pack()
    packed.attach(again)
    packed.attach(both)
    solo.attach(alone)
    losses = []
    for _ in range(10):
        losses.append(solo.step()[0])
        assert packed.step()[1] == pytest.approx(losses[-1], rel=1e-3)
    for _ in range(30):
        losses.append(solo.step()[0])
    assert sum(losses[-5:]) < sum(losses[:5])
    for index, (task, answers) in enumerate(zip(tasks_, (3, 4), strict=True)):  # one source is there twice
        found = evaluate(alone, index, task.splits["validation"], backbone, 3)
        assert len(found.predictions) == answers
        assert 0 <= found.score <= 1


def test_a_frozen_model_writes_as_it_is(tmp_path: Path, writing_folder: Path, writing_tokenizer: Any) -> None:
    """Head only: there is no head to train, and what is written is the zero point of the comparison."""
    backbone = Backbone.load(str(writing_folder), language_model=True)
    task = load(tmp_path, writing_tokenizer, backbone.shape.architecture, metric="neg_perplexity")
    mine = trial("head_only", backbone, task)
    assert not mine.parameters
    found = evaluate(mine, 0, task.splits["validation"], backbone, 4)
    assert found.score == -found.metrics["perplexity"] < -1
    assert found.predictions == [""] * 3
    assert found.examples is not None
    assert len(found.examples) == 3


def test_a_saved_method_writes(tmp_path: Path, writing_folder: Path, writing_tokenizer: Any) -> None:
    backbone = Backbone.load(str(writing_folder), language_model=True)
    task = load(tmp_path, writing_tokenizer, backbone.shape.architecture)
    mine = trial("p_tuning_v2", backbone, task, learning_rate=0.05)
    with torch.no_grad():  # far from nothing
        for parameter in mine.method.parameters():
            parameter.normal_(std=3.0, generator=torch.Generator().manual_seed(1))
    expected = evaluate(mine, 0, task.splits["validation"], backbone, 4).predictions
    config = mine.config.to_dict()
    one = task.saved
    saved.save(
        tmp_path / "saved",
        saved.Saved(
            "p_tuning_v2",
            config,
            "p_tuning_v2",
            config,
            (one,),
            str(writing_folder),
            backbone.fingerprint(),
            16,
        ),
        mine.method,
        mine.heads,
    )
    predictor = methods.load(tmp_path / "saved")
    assert predictor.predict(["cat near train", "dog near map", "fish with bread"]) == expected
    assert trained_parameters(mine.heads) == 0


def study(tmp_path: Path, folder: Path, **methods_: Any) -> Path:
    content = {
        "study": "writing",
        "output_dir": str(tmp_path / "outputs"),
        "model": {"name_or_path": str(folder), "max_length": 16},
        "tasks": [settings(tmp_path)],
        "methods": methods_,
    }
    return write_study(content, tmp_path)


def test_check_counts_what_is_trained(tmp_path: Path, writing_folder: Path) -> None:
    config = study_file.load(
        study(tmp_path, writing_folder, head_only={}, prompt_tuning={"num_virtual_tokens": 4})
    )
    found = check.check(config)
    assert found.head_parameters == 0
    assert [method.trained_parameters for method in found.methods] == [(0, 0), (64, 64)]
    assert found.seconds is not None


def test_check_refuses_virtual_tokens_where_a_decoder_writes(tmp_path: Path, writing_tokenizer: Any) -> None:
    folder = model_folder("gpt2", tmp_path / "model", writing_tokenizer)
    config = study_file.load(
        study(tmp_path, folder, p_tuning={"num_virtual_tokens": 4, "placement": ["before", "around"]})
    )
    with pytest.raises(StudyFileError, match="must be before if a decoder writes text, not around"):
        check.check(config, probe=False)
