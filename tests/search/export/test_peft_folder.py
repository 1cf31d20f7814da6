"""Folders for plain peft: the same logits, or a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertModel,
)

import methods
from methods import answers
from methods.backbone.backbone import Backbone
from methods.heads.generation import greedy
from methods.method import Method, Rows
from search.export import peft_folder
from search.export.peft_folder import NotForPeftError
from tests.methods.building import build
from tests.methods.conftest import family_language_model, family_model, texts

LABELS = ("a", "b", "c")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Callable[[], None]]:
    """Saves a tiny model of a family, and returns what writes a method of it for peft, and the parts."""

    def write(
        family: str,
        method: Callable[[Backbone], Method],
        answer: str,
        readout: str = "model",
        dtype: torch.dtype = torch.float32,
    ) -> Any:
        writes = answer == "text"
        model = family_language_model(family) if writes else family_model(family)
        model.save_pretrained(tmp_path / "model")
        backbone = Backbone.load(str(tmp_path / "model"), dtype=dtype, language_model=writes)
        form = method(backbone)
        form = form.deployed(form.own_backbone or backbone)
        head = answers.get(answer).head(readout, LABELS, {}, form.own_backbone or backbone)
        head.initialize(torch.Generator().manual_seed(0))
        peft_folder.write(
            tmp_path / "adapter",
            path=str(tmp_path / "model"),
            name="the/model",
            backbone=backbone,
            form=form,
            head=head,
            task=1,
            answer=answer,
            labels=() if writes else LABELS,
            texts=texts(3, 7)[0].tolist(),
        )
        return backbone, form, head

    return write


def trained(case: str, backbone: Backbone) -> Method:
    """A method away from its start."""
    method = build(case, backbone)
    with torch.no_grad():
        for tensor in method.parameters():
            if tensor.requires_grad:
                tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
    return method


CASES = ["p_tuning_v2", "prefix_tuning", "prefix_tuning parameterization=mlp"]
# Where peft's prefixes are right. It has none for DistilBERT and ALBERT, and does not save ModernBERT's head; in a
# sliding window (Mistral's, here of 4 tokens) it hides the prefix, which ours leaves visible.
FAMILIES = ["bert", "roberta", "electra", "gpt2", "gpt_neox", "opt", "llama", "qwen2", "qwen3", "gemma"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_gives_the_same_logits(family: str, case: str, write: Any, tmp_path: Path) -> None:
    """By a user's own lines, on texts of two lengths in one padded batch, of the second of two tasks."""
    backbone, form, head = write(family, lambda b: build(case, b, shift_positions=True), "label")
    ids, mask = texts(3, 9, seed=5)
    mask[1, 6:] = False
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", num_labels=3)
    base.config.pad_token_id = base.config.pad_token_id or 0
    ids = ids.masked_fill(~mask, base.config.pad_token_id)
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    theirs = loaded(input_ids=ids, attention_mask=mask.long()).logits
    injection = form(Rows(torch.tensor([1, 1, 1])), backbone)
    ours = head(backbone.forward(ids, mask, injection), mask)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["lora", "p_tuning_v2"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_bfloat16_backbone_is_compared_in_float32(
    family: str, case: str, write: Any, tmp_path: Path
) -> None:
    def method(backbone: Backbone) -> Method:
        return trained(case, backbone) if case == "lora" else build(case, backbone, shift_positions=True)

    backbone, form, _ = write(family, method, "label", dtype=torch.bfloat16)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert (form.own_backbone or backbone).embeddings.dtype == torch.bfloat16, "it is as before"


@pytest.mark.parametrize("case", ["lora", "lora target=all-linear"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_lora_is_pefts_own(family: str, case: str, write: Any, tmp_path: Path) -> None:
    backbone, form, head = write(family, lambda b: trained(case, b), "label")
    ids, mask = texts(2, 9, seed=5)
    base = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", num_labels=3, pad_token_id=0
    )
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    theirs = loaded(input_ids=ids, attention_mask=mask.long()).logits
    ours = head(backbone.forward(ids, mask, form(Rows(torch.tensor([1, 1])), backbone)), mask)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


def test_a_prompt_of_a_causal_model_is_a_prefix_of_pefts(write: Any, tmp_path: Path) -> None:
    for case in ("prompt_tuning", "p_tuning"):
        write("gpt2", lambda b, case=case: build(case, b), "label")
        assert '"PREFIX_TUNING"' in (tmp_path / "adapter" / "adapter_config.json").read_text()


def test_heads_of_tokens_line_up(write: Any, tmp_path: Path) -> None:
    backbone, form, head = write("bert", lambda b: build("p_tuning_v2", b, shift_positions=True), "tags")
    ids, mask = texts(2, 6)
    base = AutoModelForTokenClassification.from_pretrained(tmp_path / "model", num_labels=3)
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    theirs = loaded(input_ids=ids, attention_mask=mask.long()).logits
    ours = head(backbone.forward(ids, mask, form(Rows(torch.tensor([1, 1])), backbone)), mask, mask)
    torch.testing.assert_close(theirs.flatten(0, 1), ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case", ["prompt_tuning", "p_tuning_v2 shift_positions=True", "lora target=all-linear"]
)
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_peft_writes_the_same_text(family: str, case: str, write: Any, tmp_path: Path) -> None:
    """By a user's own lines: `generate` of a plain peft model."""
    backbone, form, head = write(family, lambda b: trained(case, b), "text")
    ids, mask = texts(2, 6, seed=5)
    used = form.own_backbone or backbone
    injection = form(Rows(torch.tensor([1, 1])), used)
    ours = greedy(used, head, ids, mask, injection, end=99, max_new_tokens=5)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    theirs = loaded.generate(
        input_ids=ids, attention_mask=mask.long(), max_new_tokens=5, do_sample=False, eos_token_id=99
    )
    found = [[token for token in row if token != 99] for row in theirs[:, 6:].tolist()]
    assert [row[: len(mine)] for row, mine in zip(found, ours, strict=True)] == ours
    assert all(ours)


def test_lora_of_more_layers_than_peft_keeps_names_of(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 37}
    BertModel(BertConfig(vocab_size=100, **sizes)).save_pretrained(tmp_path / "model")
    backbone = Backbone.load(str(tmp_path / "model"))
    form = build("lora", backbone)
    assert len(form.targets) == 24
    head = answers.get("label").head("model", LABELS, {}, backbone)
    head.initialize(torch.Generator().manual_seed(0))
    peft_folder.write(
        tmp_path / "adapter",
        path=str(tmp_path / "model"),
        name="the/model",
        backbone=backbone,
        form=form,
        head=head,
        task=0,
        answer="label",
        labels=LABELS,
        texts=texts(3, 7)[0].tolist(),
    )
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("family", "given", "readout", "reason"),
    [
        ("bert", {}, "model", "shift_positions: true"),
        ("bert", {"shift_positions": True}, "mean", "readout: model"),
        ("bert", {"shift_positions": True, "layers": "0"}, "model", "layers: all"),
        ("modernbert", {"shift_positions": True}, "model", "peft "),
        ("distilbert", {"shift_positions": True}, "model", "peft "),
        ("albert", {"shift_positions": True}, "model", "peft "),
        ("mistral", {"shift_positions": True}, "model", "peft gives other logits"),
    ],
)
def test_what_peft_cannot_say_has_a_reason(
    family: str, given: dict[str, Any], readout: str, reason: str, write: Any, tmp_path: Path
) -> None:
    with pytest.raises(NotForPeftError, match=reason):
        write(family, lambda b: build("p_tuning_v2", b, **given), "label", readout)
    assert not (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_an_encoders_prompt_has_a_reason(write: Any) -> None:
    with pytest.raises(NotForPeftError, match="reads a virtual token"):
        write("bert", lambda b: build("prompt_tuning", b), "label")


WRITTEN = {"lora", "p_tuning", "prompt_tuning"}
"""Of a causal model and at the values of `small_config`; every other method is refused with the reason."""
REFUSED = {
    "full": "a whole model",
    "head_only": "layers: all",
    "multitask": "depend on the input",
    "p_tuning_v2": "shift_positions: true",
    "prefix_tuning": "shift_positions: true",
    "prompt_pool": "depend on the input",
}


@pytest.mark.parametrize("name", methods.names())
def test_every_method_is_written_or_refused(name: str, write: Any, tmp_path: Path) -> None:
    """A new method goes into one of the two: none makes it stumble."""
    if name in WRITTEN:
        write("gpt2", lambda b: build(name, b), "label")
    else:
        with pytest.raises(NotForPeftError, match=REFUSED[name]):
            write("gpt2", lambda b: build(name, b), "label")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists() == (name in WRITTEN)
