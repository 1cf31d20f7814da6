"""A small GPT-2 pretrained on half of E2E NLG's combinations of attributes, and the rows of the other half to adapt it to.

A combination is the set of attributes that a source names, such as name, area and food. The combinations of all rows are
halved by a seed, so the frozen model has seen every attribute and how it is said, and none of the combinations that the study
asks for. Run by `real_data.py`; what is there already is not made again.
"""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

SPLITS = ("train", "validation", "test")
END = "<|endoftext|>"
_SEED = 0
_MINUTES = 12.0
_BATCH = 32

Row = dict[str, str]


def prepare(data: Path, out: Path) -> tuple[Path, dict[str, str]]:
    """The pretrained model's folder, and the file of each split of the other half.

    Args:
        data: folder with {train,validation,test}.jsonl of {"source", "target"}.
        out: where both are written.
    """
    rows = {split: read(data / f"{split}.jsonl") for split in SPLITS}
    seen = half([row for split in SPLITS for row in rows[split]])
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for split in SPLITS:
        files[split] = str(out / f"{split}.jsonl")
        unseen = [row for row in rows[split] if combination(row) not in seen]
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in unseen), encoding="utf-8")
    model = out / "model"
    if not (model / "model.safetensors").exists():
        pretrain([row for row in rows["train"] if combination(row) in seen], model)
    return model, files


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def combination(row: Row) -> tuple[str, ...]:
    """The attributes that a source names."""
    return tuple(sorted(re.findall(r"(\w+)\[", row["source"])))


def half(rows: list[Row]) -> set[tuple[str, ...]]:
    """Half of the combinations that there are."""
    combinations = sorted({combination(row) for row in rows})
    random.Random(_SEED).shuffle(combinations)
    return set(combinations[: len(combinations) // 2])


def pretrain(rows: list[Row], folder: Path) -> None:
    """Trains tokenizer and model on source and target as one text, and writes them."""
    tokenizer = make_tokenizer(rows)
    torch.manual_seed(_SEED)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=192,
        n_layer=4,
        n_head=4,
        n_positions=256,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = GPT2LMHeadModel(config).train()
    texts = [tokenizer(f"{row['source']} {row['target']}{END}")["input_ids"] for row in rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    draw, started, step = random.Random(_SEED), time.monotonic(), 0
    loss = torch.tensor(0.0)
    while (elapsed := (time.monotonic() - started) / 60) < _MINUTES and step < 1500:
        batch = draw.sample(texts, _BATCH)
        longest = max(map(len, batch))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in batch])
        labels = torch.tensor([text + [-100] * (longest - len(text)) for text in batch])
        loss = model(input_ids=ids, attention_mask=(labels != -100).long(), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 100 == 0:
            print(f"pretraining: step {step}, loss {loss.item():.3f}, {elapsed:.1f} min", flush=True)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(
        f"pretrained {model.num_parameters():,} parameters on {len(rows)} rows: loss {loss.item():.3f}",
        flush=True,
    )


def make_tokenizer(rows: list[Row]) -> PreTrainedTokenizerFast:
    """Byte-level pairs, as GPT-2's, learned from the rows."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f"{row['source']} {row['target']}" for row in rows), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
