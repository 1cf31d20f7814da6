"""A trained method as a folder: it predicts the same, has the bytes it says, and is refused when damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

import methods
from methods import answers
from methods.backbone.backbone import Backbone
from methods.method import Method
from methods.parameters import deployed_bytes, deployed_parameters, state, trained_parameters
from methods.saved import folder as saved
from methods.saved.folder import Saved, SavedError, SavedTask
from tests.methods.building import build, run
from tests.methods.conftest import family_model, texts

SINGLE = {"problem_type": "single_label_classification"}
WORDS = {"[PAD]": 0, "[UNK]": 1, **{f"w{number}": number for number in range(2, 100)}}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny BERT with a tokenizer of words w2 to w99."""
    folder = tmp_path / "model"
    family_model("bert").save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    return folder


def write(
    name: str, model: Path, folder: Path, dtype: str = "float32"
) -> tuple[Backbone, Method, nn.ModuleList]:
    """Saves a method of two tasks: labels of texts, and tags of words."""
    backbone = Backbone.load(str(model), dtype=getattr(torch, dtype))
    method = build(name, backbone)
    with torch.no_grad():  # as if trained
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.001)
    form = method.deployed(method.own_backbone or backbone)
    tasks = (SavedTask("topics", "label", ("a", "b", "c"), SINGLE),)
    tasks += (SavedTask("case", "tags", ("x", "y"), {}),)
    used = form.own_backbone or backbone
    ids, mask = texts(20, 6)
    made = nn.ModuleList(answers.get(task.answer).head("mean", task.labels, {}, used) for task in tasks)
    for index, head in enumerate(made):
        head.initialize(torch.Generator().manual_seed(index))
        with torch.no_grad():  # each of its answers is given to some text
            hidden = run(backbone, method, ids, mask, [index] * len(ids))
            head.linear.weight.mul_(50)
            head.linear.bias.sub_(head(hidden, mask, mask).mean(0))
    content = Saved(
        method=name,
        config=method.config.to_dict(),
        form=type(form).__module__.rpartition(".")[2],
        form_config=form.config.to_dict(),
        tasks=tasks,
        model=str(model),
        model_sha256=backbone.fingerprint(),
        max_length=8,
        dtype=dtype,
    )
    saved.save(folder, content, form, made)
    return backbone, method, made


@pytest.mark.parametrize("name", methods.names())
def test_it_predicts_as_the_trained_method(name: str, model: Path, tmp_path: Path) -> None:
    backbone, method, made = write(name, model, tmp_path / "out")
    loaded = methods.load(tmp_path / "out")
    ids, mask = texts(20, 6)
    written = [" ".join(f"w{number}" for number in row) for row in ids.tolist()]
    hidden = run(backbone, method, ids, mask, [0] * 20)
    expected = ["abc"[number] for number in made[0](hidden, mask).argmax(1).tolist()]
    assert loaded.predict(written, "topics") == expected
    assert set(expected) == set("abc")
    tags = made[1](run(backbone, method, ids, mask, [1] * 20), mask, mask).argmax(1).reshape(20, 6)
    expected_tags = [["xy"[number] for number in row] for row in tags.tolist()]
    assert loaded.predict([text.split() for text in written], "case") == expected_tags
    assert loaded.predict(written, "case") == expected_tags, "a text is split at blanks"


def test_words_beyond_the_length_have_no_tag(model: Path, tmp_path: Path) -> None:
    write("prompt_tuning", model, tmp_path / "out")
    (tags,) = methods.load(tmp_path / "out").predict([["w9"] * 10], "case")
    assert tags[8:] == ["", ""]
    assert all(tags[:8])


def test_a_task_of_texts_takes_texts(model: Path, tmp_path: Path) -> None:
    write("prompt_tuning", model, tmp_path / "out")
    loaded = methods.load(tmp_path / "out")
    with pytest.raises(ValueError, match="must be one string"):
        loaded.predict([["w9"]], "topics")
    with pytest.raises(ValueError, match="task must be one of topics, case"):
        loaded.predict(["w9"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", methods.names())
def test_a_predictor_has_the_number_type_of_training(
    name: str, dtype: str, model: Path, tmp_path: Path
) -> None:
    backbone, method, made = write(name, model, tmp_path / "out", dtype)
    ids, mask = texts(6, 6)
    found = methods.load(tmp_path / "out").logits(
        [" ".join(f"w{number}" for number in row) for row in ids.tolist()], "topics"
    )
    rows = [made[0](run(backbone, method, ids[i : i + 1], mask[:1], [0]), mask[:1]) for i in range(len(ids))]
    # some processors round otherwise in batches of other sizes; the wrong type is off by 1e-3
    torch.testing.assert_close(found, torch.cat(rows), rtol=0, atol=1e-5)


def test_a_folder_without_a_number_type_has_float32(model: Path, tmp_path: Path) -> None:
    write("prompt_tuning", model, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "method.json").read_text())
    assert content.pop("dtype") == "float32"
    (tmp_path / "out" / "method.json").write_text(json.dumps(content))
    assert saved.read(tmp_path / "out").dtype == "float32"


def test_a_bfloat16_model_is_saved_without_its_masters(model: Path, tmp_path: Path) -> None:
    backbone, method, _ = write("full", model, tmp_path / "out", "bfloat16")
    assert {tensor.dtype for tensor in state(method).values()} == {torch.float32}
    assert deployed_bytes(method, backbone) == 2 * deployed_parameters(method, backbone)


@pytest.mark.parametrize("name", methods.names())
def test_the_files_bytes_are_those_of_the_tensors_there_are(name: str, model: Path, tmp_path: Path) -> None:
    backbone, method, made = write(name, model, tmp_path / "out")
    path = tmp_path / "out" / "method.safetensors"
    (header,) = struct.unpack("<Q", path.read_bytes()[:8])
    tensors = deployed_bytes(method, method.own_backbone or backbone) + 4 * trained_parameters(made)
    assert path.stat().st_size == 8 + header + tensors


def test_what_is_damaged_is_refused(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write("prompt_tuning", model, folder)
    tensors, content = (folder / "method.safetensors").read_bytes(), (folder / "method.json").read_text()
    (folder / "method.safetensors").write_bytes(tensors[:-10])
    with pytest.raises(SavedError, match="was changed after it was saved; export it again"):
        methods.load(folder)
    (folder / "method.safetensors").write_bytes(tensors)
    (folder / "method.json").write_text(content[:50])
    with pytest.raises(SavedError, match="has no readable method"):
        methods.load(folder)
    changed = json.loads(content)
    changed["form_config"]["num_virtual_tokens"] = 7
    (folder / "method.json").write_text(json.dumps(changed))
    with pytest.raises(SavedError, match=r"does not fit .*prompt must be \(2, 7, 32\), not \(2, 5, 32\)"):
        methods.load(folder)
    (folder / "method.json").write_text(json.dumps({**json.loads(content), "format": 1}))
    with pytest.raises(SavedError, match="has another format"):
        methods.load(folder)


KINDS = {
    "label": "sequence_classification",
    "tags": "token_classification",
    "span": "question_answering",
    "text": "text_generation",
}
"""A form of answer, and the kind of task that stood in its place in format 3."""


def as_format_3(folder: Path) -> None:
    """Rewrites `method.json` as it was written before a task had a form of answer."""
    content = json.loads((folder / "method.json").read_text())
    assert content["format"] == 4
    for task in content["tasks"]:
        task["kind"] = KINDS[task.pop("answer")]
    (folder / "method.json").write_text(json.dumps({**content, "format": 3}))


def test_a_folder_of_format_3_predicts_the_same(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write("p_tuning_v2", model, folder)
    given = [" ".join(f"w{number}" for number in row) for row in texts(20, 6)[0].tolist()]
    expected = [methods.load(folder).predict(given, task) for task in ("topics", "case")]
    as_format_3(folder)
    loaded = methods.load(folder)
    assert [loaded.predict(given, task) for task in ("topics", "case")] == expected
    assert set(expected[0]) == set("abc")


@pytest.mark.parametrize("answer", KINDS)
def test_every_kind_of_format_3_has_its_form_of_answer(answer: str, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write("prompt_tuning", model, folder)
    content = json.loads((folder / "method.json").read_text())
    content["tasks"][0]["answer"] = answer
    (folder / "method.json").write_text(json.dumps(content))
    expected = saved.read(folder)
    as_format_3(folder)
    assert saved.read(folder) == expected
    assert expected.tasks[0].answer == answer


def test_a_folder_of_format_3_with_an_unknown_kind_is_refused(model: Path, tmp_path: Path) -> None:
    write("prompt_tuning", model, tmp_path / "out")
    as_format_3(tmp_path / "out")
    text = (tmp_path / "out" / "method.json").read_text()
    (tmp_path / "out" / "method.json").write_text(text.replace("sequence_classification", "sorting"))
    with pytest.raises(SavedError, match="sorting"):
        methods.load(tmp_path / "out")


def test_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    write("prompt_tuning", model, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "method.json").read_text())
    (tmp_path / "out" / "method.json").write_text(json.dumps({**content, "model_sha256": "0" * 64}))
    with pytest.raises(SavedError, match="are not those that"):
        methods.load(tmp_path / "out")
