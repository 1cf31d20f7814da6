"""A tiny tokenizer, a tiny model and a whole tiny study in `tmp_path`: no network, no GPU, seconds."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOPICS = {
    "animals": ["cat", "dog", "horse", "bird", "fish", "mouse"],
    "food": ["bread", "soup", "apple", "cheese", "rice", "salt"],
    "travel": ["train", "plane", "road", "ship", "ticket", "map"],
}
FILLERS = ["the", "a", "near", "with", "old", "new", "and", "is", "was", "very", "big", "small"]
ROWS = {"train": 60, "validation": 30, "test": 30}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, with [CLS] and [SEP] around a text, as BERT has them."""
    words = [*SPECIAL, *TOPICS, *(word for topic in TOPICS.values() for word in topic), *FILLERS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, SPECIAL, strict=True)))


@pytest.fixture
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


def save_model(folder: Path) -> None:
    """Saves a random BERT (2 layers, width 16, 40 positions) and its tokenizer."""
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def _model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    save_model(folder)
    return folder


@pytest.fixture
def tiny_model(_model_folder: Path) -> Path:
    """Folder of a random BERT (2 layers, width 16, 40 positions) and its tokenizer. Read only."""
    return _model_folder


def make_rows(split: str) -> list[dict[str, str]]:
    """Rows `{text, label}` that a bag of words tells apart; no text is in two splits."""
    draw = random.Random(split)
    labels = list(TOPICS)
    rows: list[dict[str, str]] = []
    seen = {row["text"] for other in ROWS if other < split for row in make_rows(other)}
    while len(rows) < ROWS[split]:
        label = labels[len(rows) % len(labels)]
        words = draw.sample(TOPICS[label], draw.randint(2, 3)) + draw.sample(FILLERS, draw.randint(2, 6))
        draw.shuffle(words)
        text = " ".join(words)
        if text not in seen:
            seen.add(text)
            rows.append({"text": text, "label": label})
    return rows


@pytest.fixture
def study(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """The tiny study's content; its data, csv and json, lies in `tmp_path`. Change it, then `write_study`."""
    for split in ROWS:
        with (tmp_path / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(make_rows(split))
        lines = "".join(json.dumps(row) + "\n" for row in make_rows(split))
        (tmp_path / f"{split}.jsonl").write_text(lines)
    tokens = {"min": 2, "max": 6}
    return {
        "study": "tiny",
        "output_dir": str(tmp_path / "outputs"),
        "model": {"name_or_path": str(tiny_model), "max_length": 12},
        "tasks": [
            {
                "name": "topics",
                "text": "text",
                "label": "label",
                "data": {
                    "path": "csv",
                    "data_files": {split: f"{split}.csv" for split in ROWS},
                    "validation_split": "validation",
                },
            }
        ],
        "methods": {
            "head_only": {},
            "prompt_tuning": {"num_virtual_tokens": tokens},
            "p_tuning_v2": {"num_virtual_tokens": tokens},
        },
        "search": {"trials_per_method": 3},
        "training": {"max_steps": 6, "eval_steps": 2, "per_device_train_batch_size": 8},
        "finalists": {"num_seeds": 2},
    }


def teach(content: dict[str, Any]) -> None:
    """Gives the tiny study steps and rates with which its methods learn, so that its report recommends one."""
    content["training"] = {"max_steps": 80, "eval_steps": 40, "per_device_train_batch_size": 16}
    for name, given in content["methods"].items():
        given |= {"learning_rate": [0.05, 0.1]} if name == "head_only" else {"head_learning_rate": 0.1}


def write_study(content: dict[str, Any], folder: Path, name: str = "study.yaml") -> Path:
    """The study as a file in `folder`."""
    path = folder / name
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture
def study_file(study: dict[str, Any], tmp_path: Path) -> Path:
    """A whole tiny study that runs: csv data, three methods of three trials, two seeds per finalist."""
    return write_study(study, tmp_path)
