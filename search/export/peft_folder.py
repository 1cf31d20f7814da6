"""Exports a trained method to a folder that plain peft loads, if peft has an equivalent.

peft runs the model's own class for a task. With a prefix, the class's head reads the text; with an input prompt, it
reads the first virtual token. So only these can be exported: a prefix (or a prompt of a causal model, which is the
same) or LoRA, with `readout: model`, a head for tokens, or a decoder that writes. Each export is checked: peft loads
it again and must give the same logits. Both compute in float32 for this, on the weights of the study's number type:
in bfloat16, a sum in another order would already give others.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from methods import lora, parameters
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.heads.heads import Head, ModelHead, TokenHead
from methods.method import Method, Rows

_TOLERANCE = 1e-3
_CLASSES = {
    "text": (AutoModelForCausalLM, "CAUSAL_LM"),
    "label": (AutoModelForSequenceClassification, "SEQ_CLS"),
    "tags": (AutoModelForTokenClassification, "TOKEN_CLS"),
}


class NotForPeftError(ValueError):
    """peft cannot load what was trained; the message says why, and which settings would allow it."""


def write(
    folder: Path,
    *,
    path: str,
    name: str,
    backbone: Backbone,
    form: Method,
    head: Head,
    task: int,
    answer: str,
    labels: Sequence[str],
    texts: Sequence[Sequence[int]],
) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors` into the folder, and checks them.

    Args:
        folder: the task's folder.
        path: the folder with the frozen model's files.
        name: the model's name in the study, which `adapter_config.json` gives as the base model.
        backbone: the frozen model.
        form: the deployed method.
        head: the task's head.
        task: the task's index.
        answer: the form of the task's answers (see `methods/answers/`).
        labels: the names of the head's outputs.
        texts: token ids of some rows, on which logits are compared.

    Raises:
        NotForPeftError: peft cannot load it, or gives other logits.
    """
    _remove(folder)  # what an earlier export left says nothing of this one
    _refuse(answer, labels, head, backbone)
    load = functools.partial(_model, path, answer, labels, backbone.embeddings.dtype)
    model = load()
    if isinstance(form, lora.Method):
        adapted = _lora(model, form, answer)
    elif form.own_backbone is not None:
        raise NotForPeftError("it is a whole model, not an adapter")
    else:
        adapted = _prefix(model, form, backbone, task, answer)
    if answer != "text":  # for text the head is the frozen model's own
        _copy_head(adapted, head)
    with _float32((form.own_backbone or backbone).model):
        expected = _ours(texts, form, backbone, head, task)
    adapted.save_pretrained(str(folder))
    try:
        loaded = peft.PeftModel.from_pretrained(load(), str(folder)).eval()
        found = _theirs(texts, loaded)
    except Exception as error:  # any error means that peft cannot load the folder
        _remove(folder)
        raise NotForPeftError(f"peft fails to load it: {type(error).__name__}: {error}") from error
    furthest = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    if not furthest <= _TOLERANCE * max(1.0, *(float(logits.abs().max()) for logits in expected)):
        _remove(folder)
        raise NotForPeftError(
            f"peft gives other logits than the trained model (they differ by up to {furthest:.2g})"
        )
    # Set the name only now: peft loads a base model by its name, here from a folder, elsewhere perhaps by a hub id.
    written = folder / "adapter_config.json"
    content = {**json.loads(written.read_text(encoding="utf-8")), "base_model_name_or_path": name}
    written.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _refuse(answer: str, labels: Sequence[str], head: Head, backbone: Backbone) -> None:
    """Refuses tasks and heads for which peft has no class.

    Raises:
        NotForPeftError: peft has no class for the task, or its class has another head.
    """
    decoder = backbone.shape.architecture == "decoder"
    if answer not in _CLASSES or not (labels or answer == "text"):
        what = "numbers" if answer in _CLASSES else f"a {answer}"
        raise NotForPeftError(f"this works for labels, tags and texts, not for {what}")
    if answer == "text":
        if not decoder:
            raise NotForPeftError(
                "in an encoder-decoder, peft puts prefixes in other places than promptfront"
            )
        return
    if not isinstance(head, ModelHead | TokenHead):
        raise NotForPeftError(
            "peft uses the model's own head. Train with readout: model (a prefix also with shift_positions: true), and "
            "without a verbalizer"
        )
    if backbone.language_model:
        raise NotForPeftError("it was trained with a language model's head, and peft's class has another one")


def _model(path: str, answer: str, labels: Sequence[str], dtype: torch.dtype) -> Any:
    """The model's class in float32, its weights rounded to `dtype` as the study's are."""
    auto, _ = _CLASSES[answer]
    names = dict(enumerate(labels))
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # no warning about the missing head: it is copied in later
    try:
        model = auto.from_pretrained(
            path,
            dtype=dtype,
            id2label=names,
            label2id={name: number for number, name in names.items()},
            use_safetensors=True,
        )
    finally:
        transformers_logging.set_verbosity(before)
    return model.float().eval()


def _prefix(model: Any, form: Method, backbone: Backbone, task: int, answer: str) -> Any:
    injection = _injection(form, backbone, task)
    if injection.prompt is not None:
        raise NotForPeftError("with an input prompt, peft's head reads a virtual token instead of the text")
    if injection.prefixes.keys() != backbone.shape.sites.keys():
        raise NotForPeftError("peft needs a prefix in every layer. Train with layers: all")
    keys = [prefix.key_BNPD[0] for prefix in injection.prefixes.values()]
    values = [prefix.value_BNPD[0] for prefix in injection.prefixes.values()]
    length = keys[0].shape[1]
    if injection.offset_B is None or int(injection.offset_B[0]) != length:
        raise NotForPeftError("peft starts the text at position P. Train with shift_positions: true")
    _, task_type = _CLASSES[answer]
    try:
        adapted = peft.get_peft_model(
            model, peft.PrefixTuningConfig(task_type=task_type, num_virtual_tokens=length)
        )
        embedding = adapted.prompt_encoder["default"].embedding.weight
    except Exception as error:  # peft raises different errors for different models
        raise NotForPeftError(
            f"peft supports no prefixes for this model: {type(error).__name__}: {error}"
        ) from error
    # peft's table has the order K_0, V_0, K_1, V_1, ...: [P, 2L, N, D].
    table = torch.stack([part for pair in zip(keys, values, strict=True) for part in pair]).permute(
        2, 0, 1, 3
    )
    if table.numel() != embedding.numel():
        raise NotForPeftError(
            f"peft's prefixes for this model have {embedding.numel()} numbers, not {table.numel()}"
        )
    with torch.no_grad():
        embedding.copy_(table.reshape(embedding.shape))
    return adapted


def _lora(model: Any, form: lora.Method, answer: str) -> Any:
    """Puts the same adapter into the model's class."""
    _, task_type = _CLASSES[answer]
    # Our names for a language model are already those of its class; for a base model, its name in the class is missing.
    prefix = "" if answer == "text" else f"{model.base_model_prefix}."
    targets = [f"{prefix}{name}" for name in form.targets]
    described = peft.LoraConfig(
        r=form.config.r,
        lora_alpha=form.config.lora_alpha,
        target_modules=targets,
        fan_in_fan_out=isinstance(model.get_submodule(targets[0]), Conv1D),  # in GPT-2, all of them
        task_type=task_type,
    )
    adapted = peft.get_peft_model(model, described)
    theirs = dict(adapted.named_parameters())
    with torch.no_grad():
        for name, tensor in parameters.state(form).items():
            theirs[f"base_model.model.{prefix}{name.removeprefix('model.')}"].copy_(tensor)
    return adapted.eval()


def _copy_head(adapted: Any, head: Head) -> None:
    """Copies our head's weights to peft's copy of the class's head, which peft saves."""
    ours = {name.removeprefix("head."): tensor for name, tensor in head.state_dict().items()}
    if isinstance(head, TokenHead):
        ours = {name.replace("linear.", "classifier."): tensor for name, tensor in ours.items()}
    theirs = dict(adapted.named_parameters())
    for name, tensor in ours.items():
        module, _, rest = name.partition(".")
        places = [place for place in theirs if f"{module}.modules_to_save.default.{rest}" in place]
        if len(places) != 1:
            raise NotForPeftError(f"peft does not save the head's {name}")
        with torch.no_grad():
            theirs[places[0]].copy_(tensor)


def _injection(form: Method, backbone: Backbone, task: int) -> Injection:
    if form.query is not None:
        raise NotForPeftError("its prompts depend on the input, which peft does not support")
    with torch.no_grad():
        injection: Injection = form(Rows(torch.tensor([task], device=backbone.device)), backbone)
    return injection


@contextlib.contextmanager
def _float32(model: nn.Module) -> Iterator[None]:
    """Lets a model compute in float32 for a while; its weights keep their values."""
    before = [(parameter, parameter.data) for parameter in model.parameters()]
    try:
        for parameter, data in before:
            parameter.data = data.float()
        yield
    finally:
        for parameter, data in before:
            parameter.data = data


@torch.no_grad()
def _ours(
    texts: Sequence[Sequence[int]], form: Method, backbone: Backbone, head: nn.Module, task: int
) -> list[Tensor]:
    used, outputs = form.own_backbone or backbone, []
    for text in texts:
        ids_1T = torch.tensor([list(text)], device=used.device)
        mask_1T = torch.ones_like(ids_1T, dtype=torch.bool)
        rows = Rows(torch.tensor([task], device=used.device))
        outputs.append(head(used.forward(ids_1T, mask_1T, form(rows, used)), mask_1T, mask_1T).cpu())
    return outputs


@torch.no_grad()
def _theirs(texts: Sequence[Sequence[int]], loaded: Any) -> list[Tensor]:
    outputs = []
    for text in texts:
        ids_1T = torch.tensor([list(text)])
        logits = loaded(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits
        outputs.append(logits.flatten(0, -2))
    return outputs


def _remove(folder: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).unlink(missing_ok=True)
