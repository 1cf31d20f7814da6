"""Labels as words that the language model scores: at the mask token, or after the text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config, GPT2LMHeadModel

import methods
from methods.backbone.backbone import Backbone
from methods.saved import folder as saved
from search import tasks
from search.config import kinds, study_file
from search.config.study_config import TrainingConfig
from search.errors import StudyFileError
from search.plan import check
from search.training.evaluation import evaluate, predict
from search.training.steps.pack import Pack
from search.training.trial import Trial
from tests.search.conftest import make_rows, write_study

WORDS = {"animals": "cat", "food": "soup", "travel": "road"}
TEXT = {"encoder": "{text} is [MASK]", "decoder": "{text} is"}


@pytest.fixture(params=["encoder", "decoder"])
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(architecture: str, tmp_path: Path, tiny_tokenizer: Any) -> Path:
    """A tiny masked model or decoder with its head for words."""
    path = tmp_path / "model"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any
        if architecture == "encoder":
            sizes = {
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 32,
            }
            model = BertForMaskedLM(BertConfig(vocab_size=len(tiny_tokenizer), **sizes))
        else:
            tiny_tokenizer.backend_tokenizer.post_processor = None
            config = GPT2Config(
                vocab_size=len(tiny_tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=40
            )
            model = GPT2LMHeadModel(config)
        with torch.no_grad():  # the usual start is so small that nothing would depend on anything
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.3)
        model.save_pretrained(path)
    tiny_tokenizer.save_pretrained(path)
    return path


def settings(tmp_path: Path, text: str, **more: Any) -> dict[str, Any]:
    for split in ("train", "validation"):
        lines = (json.dumps(row) + "\n" for row in make_rows(split))
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation")}
    data = {"path": "json", "data_files": files, "validation_split": "validation", "test_split": None}
    return {"name": "topics", "text": text, "label": "label", "data": data, "verbalizer": WORDS, **more}


def load(
    tmp_path: Path,
    tokenizer: Any,
    architecture: Any,
    text: str | None = None,
    max_length: int = 16,
    **more: Any,
) -> Any:
    content = settings(tmp_path, TEXT.get(architecture, "text") if text is None else text, **more)
    return tasks.load(kinds.parse(content), tokenizer, max_length, 0, architecture=architecture)


def trial(name: str, backbone: Backbone, task: Any) -> Trial:
    module = methods.get(name)
    training = TrainingConfig(max_steps=80, eval_steps=80, per_device_train_batch_size=30)
    return Trial(module.Method, module.Config(learning_rate=0.1), backbone, [task], [1.0], training, 0)


def test_the_bare_model_scores_the_words_where_they_belong(
    tmp_path: Path, folder: Path, architecture: str, tiny_tokenizer: Any
) -> None:
    backbone = Backbone.load(str(folder), language_model=True)
    task = load(tmp_path, tiny_tokenizer, architecture)
    mine = trial("head_only", backbone, task)
    assert not mine.parameters, "there is no head to train: this is the frozen model's own answer"
    whole = (BertForMaskedLM if architecture == "encoder" else GPT2LMHeadModel).from_pretrained(folder).eval()
    words = tiny_tokenizer.convert_tokens_to_ids([WORDS[label] for label in task.labels])
    split = task.splits["validation"]
    for row, logits_1C in zip(split.rows, predict(mine, 0, split, backbone, 7), strict=True):
        ids = torch.tensor([row.input_ids])
        place = row.input_ids.index(tiny_tokenizer.mask_token_id) if architecture == "encoder" else -1
        with torch.no_grad():
            expected = whole(input_ids=ids).logits[0, place, words]
        torch.testing.assert_close(logits_1C[0], expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_is_trained_and_saved_without_a_head(
    tmp_path: Path, folder: Path, architecture: str, tiny_tokenizer: Any
) -> None:
    backbone = Backbone.load(str(folder), language_model=True)
    task = load(tmp_path, tiny_tokenizer, architecture)
    mine = trial("p_tuning_v2", backbone, task)
    assert mine.counts.head_parameters == 0
    split = task.splits["validation"]
    before = evaluate(mine, 0, split, backbone, 8)
    pack = Pack()
    pack.attach(mine)
    losses = [pack.step()[0] for _ in range(80)]
    assert losses[-1] < 0.9 * losses[0]
    found = evaluate(mine, 0, split, backbone, 8)
    assert found.predictions != before.predictions
    config = mine.config.to_dict()
    one = task.saved
    content = saved.Saved(
        "p_tuning_v2", config, "p_tuning_v2", config, (one,), str(folder), backbone.fingerprint(), 16
    )
    saved.save(tmp_path / "saved", content, mine.method, mine.heads)
    texts = [TEXT[architecture].format(text=row["text"]) for row in make_rows("validation")]
    assert methods.load(tmp_path / "saved").predict(texts) == found.predictions


def test_a_long_text_keeps_the_place_of_the_word(
    tmp_path: Path, architecture: str, tiny_tokenizer: Any
) -> None:
    if architecture == "decoder":
        tiny_tokenizer.backend_tokenizer.post_processor = None
    rows = load(tmp_path, tiny_tokenizer, architecture, max_length=6).splits["train"].rows
    end = ["is", "[MASK]", "[SEP]"] if architecture == "encoder" else ["is"]
    for row in rows:
        words = tiny_tokenizer.convert_ids_to_tokens(row.input_ids)
        assert words[-len(end) :] == end
        assert words[row.read[0]] == ("[MASK]" if architecture == "encoder" else "is")
        assert len(words) <= 6
    if architecture == "encoder":
        rows = (
            load(tmp_path, tiny_tokenizer, architecture, "[MASK] {text}", max_length=6).splits["train"].rows
        )
        words = tiny_tokenizer.convert_ids_to_tokens(rows[0].input_ids)
        assert words[:2] == ["[CLS]", "[MASK]"]
        assert (words[-1], len(words)) == ("[SEP]", 6)


@pytest.mark.parametrize(
    ("architecture", "given", "message"),
    [
        ("encoder", {"text": "{text} is"}, r"text: must have the model's mask token, \[MASK\], exactly once"),
        ("encoder", {"verbalizer": {"food": "soup"}}, "verbalizer: must have a word for each of the labels"),
        ("encoder", {"verbalizer": {**WORDS, "food": "cat"}}, "verbalizer: words must begin with different tokens"),
        ("encoder", {"verbalizer": {**WORDS, "food": "zebra"}}, "that the model knows"),
        ("encoder-decoder", {"text": "text"}, "verbalizer: needs a masked language model"),
    ],
)  # fmt: skip
def test_what_cannot_be(
    architecture: str, given: dict[str, Any], message: str, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    with pytest.raises(StudyFileError, match=message):
        load(tmp_path, tiny_tokenizer, architecture, **given)


def test_a_model_without_a_head_for_words_is_refused(tmp_path: Path, tiny_tokenizer: Any) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tiny_tokenizer), **sizes)).save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    content = {
        "study": "words",
        "model": {"name_or_path": str(tmp_path / "model"), "max_length": 16},
        "tasks": [settings(tmp_path, TEXT["encoder"])],
        "methods": {"head_only": {}},
    }
    config = study_file.load(write_study(content, tmp_path))
    with pytest.raises(StudyFileError, match=r"model.name_or_path: .* lacks \d+ tensors"):
        check.check(config)
