"""Where virtual tokens stand, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection, Prompt, concatenate, full_mask
from methods.backbone.layout import arrange
from methods.backbone.readout import sequence_features
from methods.method import Rows
from methods.sites.config import PLACEMENTS
from methods.sites.input_site import placed, prompt_injection
from tests.methods.building import build, run, small_config
from tests.methods.conftest import texts

DECODERS = ("gpt2", "gpt_neox", "opt", "llama", "qwen2", "qwen3", "gemma")


def sequence(placement: str, text: str, length: int, padding: str = "right") -> str:
    """What the model sees of a row: virtual tokens as digits, padding as dots."""
    prompt = "012"
    pad = "." * (length - len(text))
    row = text + pad if padding == "right" else pad + text
    codes = torch.tensor([[[float(ord(letter))] for letter in row]])
    virtual = placed(torch.tensor([[[float(ord(letter))] for letter in prompt]]), placement)
    mask = torch.tensor([[letter != "." for letter in row]])
    laid = arrange(virtual, codes, mask)
    seen = [chr(int(code)) for code in laid.embeddings_BSE[0, :, 0]]
    assert [letter != "." for letter in seen] == laid.mask_BS[0].tolist()
    if laid.text_BT is not None:
        assert "".join(seen[position] for position in laid.text_BT[0].tolist()) == row
    return "".join(seen)


@pytest.mark.parametrize(
    ("placement", "expected"),
    [("before", "012abcd.."), ("middle", "ab012cd.."), ("after", "abcd012.."), ("around", "01abcd2..")],
)
def test_a_prompt_stands_where_it_should(placement: str, expected: str) -> None:
    assert sequence(placement, "abcd", 6) == expected


@pytest.mark.parametrize(("placement", "expected"), [("middle", "..a012bc"), ("after", "..abc012")])
def test_padding_on_the_left_stays_there(placement: str, expected: str) -> None:
    assert sequence(placement, "abc", 5, "left") == expected


def test_in_a_pack_padding_of_the_prompt_comes_last() -> None:
    short, long = torch.ones(1, 1, 1), torch.full((1, 3, 1), 2.0)
    joined = concatenate(
        [Injection(1, prompt=placed(short, "middle")), Injection(1, prompt=placed(long, "before"))]
    )
    text = torch.full((2, 2, 1), 7.0)
    laid = arrange(joined.prompt, text, torch.ones(2, 2, dtype=torch.bool))
    assert laid.embeddings_BSE[:, :, 0].tolist() == [[7, 1, 7, 0, 0], [2, 2, 2, 7, 7]]
    assert laid.mask_BS.tolist() == [[True, True, True, False, False], [True] * 5]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_prompt_of_the_texts_own_tokens_is_that_text(
    placement: str, make_backbone: Callable[[str], Backbone]
) -> None:
    """Tokens taken out of a text and put back as a prompt, where they stood."""
    kept = {"before": range(4, 10), "middle": [0, 1, 2, 7, 8, 9], "after": range(6), "around": range(2, 8)}
    for family in ("bert", "roberta", "modernbert", "albert", "gpt2", "llama", "opt"):
        backbone = make_backbone(family)
        ids, mask = texts(2, 10)
        rest = torch.tensor(kept[placement])
        taken = torch.tensor([position for position in range(10) if position not in kept[placement]])
        prompt = placed(backbone.embed(ids[:, taken]), placement)
        whole = backbone.forward(ids, mask, Injection(2))
        split = backbone.forward(ids[:, rest], mask[:, rest], Injection(2, prompt=prompt))
        torch.testing.assert_close(split, whole[:, rest], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_row_does_not_depend_on_its_padding(placement: str, backbone: Backbone) -> None:
    method = build("prompt_tuning", backbone, placement=placement)
    ids, mask = texts(2, 9)
    mask[1, 6:] = False
    together = run(backbone, method, ids, mask, [0, 1])
    alone = run(backbone, method, ids[1:, :6], mask[1:, :6], [1])
    torch.testing.assert_close(together[1:, :6], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("placement", ["middle", "after", "around"])
def test_packed_rows_of_other_placements_change_nothing(placement: str, backbone: Backbone) -> None:
    ids, mask = texts(4, 7)
    mask[0, 5:] = False
    rows = Rows(torch.tensor([0, 1]))
    mine = build("prompt_tuning", backbone, placement=placement)(rows, backbone)
    alone = backbone.forward(ids[:2], mask[:2], mine)
    for other in PLACEMENTS:
        theirs = build("prompt_tuning", backbone, seed=1, num_virtual_tokens=8, placement=other)
        packed = backbone.forward(ids, mask, concatenate([mine, theirs(rows, backbone)]))[:2]
        torch.testing.assert_close(packed[mask[:2]], alone[mask[:2]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", DECODERS)
def test_a_prompt_in_a_causal_model_is_its_own_cache(
    family: str, make_backbone: Callable[[str], Backbone]
) -> None:
    """Run once for all rows, or once for each: the same hidden states and the same gradient."""
    backbone = make_backbone(family)
    assert backbone.shape.prompts_are_prefixes
    ids, mask = texts(3, 7)
    mask[2, 4:] = False
    rows = Rows(torch.tensor([0, 1, 0]))
    prompt = torch.nn.Parameter(backbone.embed(texts(2, 5, seed=3)[0]))
    once = prompt_injection(prompt, rows, "before", backbone)
    assert once.prompt is None
    each = Injection(3, prompt=placed(prompt[rows.task_B], "before"))
    found, expected = (backbone.forward(ids, mask, injection)[mask] for injection in (once, each))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(hidden.pow(2).mean(), prompt)[0] for hidden in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_a_sliding_window_hides_a_prompt_as_it_hides_text(make_backbone: Callable[[str], Backbone]) -> None:
    backbone = make_backbone("mistral")  # a window of 4 tokens
    assert not backbone.shape.prompts_are_prefixes
    ids, mask = texts(1, 12)
    whole = backbone.forward(ids, mask, Injection(1))
    method = build("prompt_tuning", backbone, num_virtual_tokens=3)
    with torch.no_grad():
        method.prompt[0] = backbone.embed(ids[0, :3])
    torch.testing.assert_close(
        run(backbone, method, ids[:, 3:], mask[:, 3:], [0]), whole[:, 3:], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "family", [*DECODERS, "bert", "roberta"]
)  # a sliding window counts padding on the left
def test_padding_on_either_side_gives_the_same(family: str, make_backbone: Callable[[str], Backbone]) -> None:
    """The last token of a decoder's text is found, and its positions counted, wherever the padding is."""
    backbone = make_backbone(family)
    ids, mask = texts(1, 9)
    mask[:, 6:] = False
    for case in ("prompt_tuning", "p_tuning_v2", "head_only"):
        method = build(case, backbone)
        for readout in ("first", "last", "mean"):
            right = sequence_features(run(backbone, method, ids, mask, [0]), mask, readout)
            rolled, rolled_mask = ids.roll(3, 1), mask.roll(3, 1)
            left = sequence_features(run(backbone, method, rolled, rolled_mask, [0]), rolled_mask, readout)
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("placement", "readout", "refused"),
    [
        ("before", "first", False),
        ("middle", "first", True),
        ("middle", "last", False),
        ("after", "last", True),
        ("after", "mean", True),
        ("around", "last", False),
    ],
)
def test_a_causal_model_cannot_see_what_comes_later(
    placement: str, readout: str, refused: bool, make_backbone: Callable[[str], Backbone]
) -> None:
    backbone = make_backbone("llama")
    config = small_config("prompt_tuning", placement=placement, readout=readout)
    problems = config.problems(backbone.shape, 10)
    assert bool(problems) == refused
    assert all("a text token sees nothing that comes after it" in problem for problem in problems)
    ids, mask = texts(1, 6)
    method = build("prompt_tuning", backbone, placement=placement)
    hidden = run(backbone, method, ids, mask, [0])
    features = sequence_features(hidden, mask, readout)
    seen = torch.autograd.grad(features.pow(2).sum(), method.prompt, allow_unused=True)[0]
    assert (seen is None or not seen.any()) == refused, (
        "what is refused gets no gradient, and nothing else is"
    )


def test_an_encoder_reads_prompts_anywhere(bert: Backbone) -> None:
    for placement in PLACEMENTS:
        assert small_config("prompt_tuning", placement=placement).problems(bert.shape, 10) == []


def test_a_text_start_begins_with_the_text(bert: Backbone) -> None:
    method = build("prompt_tuning", bert, init="text", init_text="cat")
    torch.testing.assert_close(method.prompt[0, :3].detach(), bert.embeddings[[12, 10, 29]])
    config = methods.get("prompt_tuning").Config
    (problem,) = config(init="text").problems(bert.shape, 10)
    assert problem == "init_text must be given if init is text"
    assert config(init="vocab", init_text="cat").problems(bert.shape, 10) == [], "both can be searched"


def test_a_mask_says_which_virtual_tokens_there_are(bert: Backbone) -> None:
    ids, mask = texts(1, 5)
    embeddings = bert.embed(ids)
    seen = full_mask(1, 5, ids.device)
    seen[0, :2] = False
    short = bert.forward(ids, mask, Injection(1, prompt=Prompt(embeddings[:, 2:], seen[:, 2:])))
    masked = bert.forward(
        ids, mask, Injection(1, prompt=Prompt(embeddings, seen, torch.zeros_like(seen).long()))
    )
    torch.testing.assert_close(masked, short, rtol=1e-4, atol=1e-5)
