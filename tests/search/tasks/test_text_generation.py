"""Texts that are written: layout, references, published scores, learning on both architectures, and what can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

import methods
from methods.backbone.backbone import Backbone
from methods.parameters import trained_parameters
from methods.saved import folder as saved
from search import tasks
from search.config import kinds, study_file
from search.config.study_config import TrainingConfig
from search.errors import StudyFileError
from search.plan import check
from search.tasks.text_generation import GenerationSplit, TextGeneration, bleu, exact_match, rouge_l
from search.training.batches import collate, without_targets
from search.training.evaluation import evaluate, predict
from search.training.pack import Pack
from search.training.trial import Trial
from tests.search.conftest import write_study

PAIRS = [
    ("cat near train", "the cat is near the train"),
    ("dog near map", "the dog is near the map"),
    ("dog near map", "a dog was near the map"),
    ("fish with bread", "the fish was with bread"),
]
METHODS = ("prompt_tuning", "p_tuning_v2", "prefix_tuning", "prompt_pool", "multitask", "full", "lora")


@pytest.fixture
def tokenizer(tiny_tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Words, without special tokens around a text, but one that ends it."""
    tiny_tokenizer.eos_token = "[SEP]"
    tiny_tokenizer.backend_tokenizer.post_processor = None
    return tiny_tokenizer


@pytest.fixture(params=["gpt2", "t5"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, tokenizer: Any) -> Path:
    """A tiny decoder or encoder-decoder with its language model's head."""
    return model_folder(request.param, tmp_path / "model", tokenizer)


def model_folder(family: str, folder: Path, tokenizer: Any) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "gpt2":
            config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=40)
            GPT2LMHeadModel(config).save_pretrained(folder)
        else:
            given = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
            config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **given)
            T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(tmp_path: Path, pairs: list[tuple[str, str]] = PAIRS, **more: Any) -> dict[str, Any]:
    for split in ("train", "validation"):
        lines = (json.dumps({"source": source, "target": target}) + "\n" for source, target in pairs)
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation")}
    data = {"path": "json", "data_files": files, "validation_split": "validation", "test_split": None}
    content = {
        "name": "describe",
        "kind": "text_generation",
        "source": "source",
        "target": "target",
        "data": data,
    }
    return {**content, "max_target_length": 8, **more}


def load(
    tmp_path: Path, tokenizer: Any, architecture: Any = "decoder", max_length: int = 16, **more: Any
) -> TextGeneration:
    config = kinds.parse(settings(tmp_path, **more))
    task = tasks.load(config, tokenizer, max_length, 0, architecture=architecture)
    assert isinstance(task, TextGeneration)
    return task


def trial(name: str, backbone: Backbone, task: Any, steps: int = 60, **config: Any) -> Trial:
    module = methods.get(name)
    training = TrainingConfig(
        max_steps=steps, eval_steps=steps, per_device_train_batch_size=4, lr_scheduler_type="constant"
    )
    return Trial(module.Method, module.Config(**config), backbone, [task], [1.0], training, 0)


def test_a_decoder_reads_the_target_where_it_is_to_be_said(tmp_path: Path, tokenizer: Any) -> None:
    row = load(tmp_path, tokenizer).splits["train"].rows[0]
    assert tokenizer.decode(row.input_ids) == "cat near train the cat is near the train"
    assert tokenizer.decode(row.targets) == "the cat is near the train [SEP]"
    assert row.read == [2, 3, 4, 5, 6, 7, 8]
    (alone,) = without_targets([row])
    assert tokenizer.decode(alone.input_ids) == "cat near train"


def test_an_encoder_decoder_writes_after_its_start_token(tmp_path: Path, tokenizer: Any) -> None:
    rows = load(tmp_path, tokenizer, "encoder-decoder").splits["train"].rows
    assert tokenizer.decode(rows[0].input_ids) == "cat near train"
    assert tokenizer.decode(rows[0].targets) == "the cat is near the train [SEP]"
    assert tokenizer.decode(rows[0].written) == "the cat is near the train"
    texts = collate(rows, torch.device("cpu"))
    assert texts.written_BU is not None
    assert texts.read_BT.shape == (4, 1 + texts.written_BU.shape[1])
    assert texts.read_BT.sum(1).tolist() == [len(row.targets) for row in rows]


def test_rows_of_one_source_are_one_example_with_several_references(tmp_path: Path, tokenizer: Any) -> None:
    split = load(tmp_path, tokenizer).splits["validation"]
    assert isinstance(split, GenerationSplit)
    assert len(split) == 4
    assert [example.source for example in split.examples] == [
        "cat near train",
        "dog near map",
        "fish with bread",
    ]
    assert split.examples[1].targets == ("the dog is near the map", "a dog was near the map")
    two = load(tmp_path, tokenizer, max_train_samples=2).splits["train"]
    assert isinstance(two, GenerationSplit)
    assert len(two.examples) == 2


def test_a_validation_split_that_is_cut_off_shares_no_source_with_train(
    tmp_path: Path, tokenizer: Any
) -> None:
    content = settings(
        tmp_path,
        [
            (f"{a} near {b}", t)
            for a in ("cat", "dog", "fish")
            for b in ("map", "road")
            for t in ("one", "two")
        ],
    )
    content["data"] |= {"validation_split": None, "validation_fraction": 0.3}
    task = tasks.load(kinds.parse(content), tokenizer, 16, 0, architecture="decoder")
    train, validation = task.splits["train"], task.splits["validation"]
    assert isinstance(train, GenerationSplit)
    assert isinstance(validation, GenerationSplit)
    assert not {e.source for e in train.examples} & {e.source for e in validation.examples}
    assert not task.warnings


def test_what_is_too_long_is_cut_and_counted(tmp_path: Path, tokenizer: Any) -> None:
    task = load(tmp_path, tokenizer, max_length=10, max_target_length=6)
    assert task.splits["train"].rows[0].targets[-1] != task.end
    assert "3 of 4 rows of train are cut" in task.warnings[0]


def test_published_scores() -> None:
    # Lin (2004), "ROUGE", section 3.1: of these two sentences ROUGE-L prefers the first, with 3/4 against 2/4.
    right = ("police killed the gunman",)
    assert rouge_l(["police kill the gunman", "the gunman kill police"], [right, right]) == [0.75, 0.5]
    # sacrebleu's README: 48.53.
    written = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    first = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
    second = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]
    assert bleu(written, list(zip(first, second, strict=True))) == pytest.approx(0.485308, abs=1e-5)
    assert (
        bleu(["a b c d e"], [["a b c d e", "x"]]) == bleu(["a b c d e"], [["a b c d e"]]) == pytest.approx(1)
    )
    assert exact_match(["a  b ", "a c"], [["x", "a b"], ["a b"]]) == [1.0, 0.0]
    assert rouge_l([""], [["a b"]]) == [0.0]


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_to_write(name: str, tmp_path: Path, folder: Path, tokenizer: Any) -> None:
    backbone = Backbone.load(str(folder), language_model=True)
    task = load(tmp_path, tokenizer, backbone.shape.architecture)
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
    tmp_path: Path, folder: Path, tokenizer: Any
) -> None:
    backbone = Backbone.load(str(folder), language_model=True)
    task = load(tmp_path, tokenizer, backbone.shape.architecture, pairs=[PAIRS[0], PAIRS[1], PAIRS[3]])
    mine = trial("full", backbone, task, 200, learning_rate=1e-2)
    pack = Pack()
    pack.attach(mine)
    for _ in range(200):
        pack.step()
    found = evaluate(mine, 0, task.splits["validation"], backbone, 4)
    assert found.predictions == [target for _, target in (PAIRS[0], PAIRS[1], PAIRS[3])]
    assert found.metrics["exact_match"] == found.score == 1
    assert found.parts == [1.0] * 3


@pytest.mark.parametrize("name", ["prompt_tuning", "p_tuning_v2", "multitask", "prompt_pool"])
def test_writing_and_labelling_share_a_step(name: str, tmp_path: Path, folder: Path, tokenizer: Any) -> None:
    """Of an encoder-decoder the rows of one go through both parts, those of the other through the encoder alone."""
    backbone = Backbone.load(str(folder), language_model=True)
    content = settings(tmp_path)
    labelled = {"name": "which", "text": "source", "label": "target", "data": content["data"]}
    tasks_ = [
        tasks.load(kinds.parse(each), tokenizer, 16, 0, architecture=backbone.shape.architecture)
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
    for index, task in enumerate(tasks_):
        assert evaluate(alone, index, task.splits["validation"], backbone, 3).score >= 0


def test_a_frozen_model_writes_as_it_is(tmp_path: Path, folder: Path, tokenizer: Any) -> None:
    """Head only: there is no head to train, and what is written is the zero point of the comparison."""
    backbone = Backbone.load(str(folder), language_model=True)
    task = load(tmp_path, tokenizer, backbone.shape.architecture, metric="neg_perplexity")
    mine = trial("head_only", backbone, task)
    assert not mine.parameters
    found = evaluate(mine, 0, task.splits["validation"], backbone, 4)
    assert found.score == -found.metrics["perplexity"] < -1
    assert not found.predictions


def test_a_saved_method_writes(tmp_path: Path, folder: Path, tokenizer: Any) -> None:
    backbone = Backbone.load(str(folder), language_model=True)
    task = load(tmp_path, tokenizer, backbone.shape.architecture)
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
            "p_tuning_v2", config, "p_tuning_v2", config, (one,), str(folder), backbone.fingerprint(), 16
        ),
        mine.method,
        mine.heads,
    )
    predictor = methods.load(tmp_path / "saved")
    assert predictor.predict(["cat near train", "dog near map", "fish with bread"]) == expected
    assert trained_parameters(mine.heads) == 0


def test_an_encoder_writes_nothing(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(StudyFileError, match="kind: text_generation needs a decoder"):
        load(tmp_path, tokenizer, "encoder")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_target_length": 16}, "max_target_length: must be below model.max_length"),
        ({"pairs": [("cat", "")]}, "target: row 0 of 'train'"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], message: str, tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(StudyFileError, match=message):
        load(tmp_path, tokenizer, **given)


def test_a_tokenizer_must_be_able_to_end_a_text(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.eos_token = None
    with pytest.raises(StudyFileError, match="end-of-text token"):
        load(tmp_path, tokenizer)


def study(tmp_path: Path, folder: Path, **methods_: Any) -> Path:
    content = {
        "study": "writing",
        "output_dir": str(tmp_path / "outputs"),
        "model": {"name_or_path": str(folder), "max_length": 16},
        "tasks": [settings(tmp_path)],
        "methods": methods_,
    }
    return write_study(content, tmp_path)


def test_check_counts_what_is_trained(tmp_path: Path, folder: Path) -> None:
    config = study_file.load(study(tmp_path, folder, head_only={}, prompt_tuning={"num_virtual_tokens": 4}))
    found = check.check(config)
    assert found.head_parameters == 0
    assert [method.trained_parameters for method in found.methods] == [(0, 0), (64, 64)]
    assert found.seconds is not None


def test_check_refuses_virtual_tokens_where_a_decoder_writes(tmp_path: Path, tokenizer: Any) -> None:
    folder = model_folder("gpt2", tmp_path / "model", tokenizer)
    config = study_file.load(
        study(tmp_path, folder, p_tuning={"num_virtual_tokens": 4, "placement": ["before", "around"]})
    )
    with pytest.raises(StudyFileError, match="must be before if a decoder writes text, not around"):
        check.check(config, probe=False)
