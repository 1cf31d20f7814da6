"""A tiny task of texts that are written, and the models that write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from search import tasks
from search.config import kinds
from search.tasks.text_generation import TextGeneration

PAIRS = [
    ("cat near train", "the cat is near the train"),
    ("dog near map", "the dog is near the map"),
    ("dog near map", "a dog was near the map"),
    ("fish with bread", "the fish was with bread"),
]


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
