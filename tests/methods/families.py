"""The table of model families in docs/methods.md, made by running each: `python -m tests.methods.families` prints it."""

from __future__ import annotations

import torch

from methods.backbone.backbone import Backbone
from methods.backbone.readout import sequence_features
from tests.methods.building import build, run, small_config
from tests.methods.conftest import FAMILIES, family_model, texts

NAMES = {
    "bert": "BERT", "distilbert": "DistilBERT", "roberta": "RoBERTa", "electra": "ELECTRA", "albert": "ALBERT",
    "modernbert": "ModernBERT", "deberta-v2": "DeBERTa v2, v3", "mpnet": "MPNet", "gpt2": "GPT-2",
    "gpt_neox": "GPT-NeoX", "opt": "OPT", "llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen 2",
    "qwen3": "Qwen 3", "gemma": "Gemma", "t5": "T5", "bart": "BART",
}  # fmt: skip


def table() -> str:
    """A line per family: whether each site works, as a Markdown table."""
    lines = ["| family | part | input site | key/value site | `readout: model` |", "|---|---|---|---|---|"]
    for family in NAMES:
        backbone = Backbone(family_model(family))
        part = "encoder" if not backbone.shape.causal else "decoder"
        if backbone.config.is_encoder_decoder:
            part = "its encoder; both for text generation"
        cells = [site(backbone, "prompt_tuning"), site(backbone, "p_tuning_v2")]
        cells.append("works" if backbone.shape.model_head else "refused")
        lines.append(f"| {NAMES[family]} | {part} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def site(backbone: Backbone, method: str) -> str:
    """Whether a row comes out the same alone and in a batch, and its prompt gets a gradient; else, what is refused."""
    if small_config(method).problems(backbone.shape, 16):
        return "refused"
    module = build(method, backbone)
    ids, mask = texts(2, 9)
    mask[1, 6:] = False
    together = run(backbone, module, ids, mask, [0, 1])[1, :6]
    torch.testing.assert_close(
        together, run(backbone, module, ids[1:, :6], mask[1:, :6], [1])[0], rtol=1e-4, atol=1e-5
    )
    features = sequence_features(run(backbone, module, ids, mask, [0, 1]), mask, "last")
    gradients = torch.autograd.grad(features.pow(2).sum(), list(module.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients), f"{method} gets no gradient"
    return "works"


if __name__ == "__main__":
    assert NAMES.keys() == FAMILIES.keys()
    print(table(), end="")
