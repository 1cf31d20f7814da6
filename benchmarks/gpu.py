"""What packing is worth on a GPU: trial-steps a second of packed trials, beside solo trials, processes and peft.

    python -m benchmarks.gpu [--seconds 400] [--tiny]

A trial-step is one optimizer step of one trial, on 8 rows. Models have random weights, built in memory: nothing is read or
downloaded. Sections stand in the order of their worth, each line is printed as it is known, and a section for which too little
of `--seconds` is left is skipped. Times are medians of whole steps (data, injection, forward, backward, clipping, AdamW) between
synchronizations. `--tiny` goes through all of it in a minute of two CPU cores, with times that mean nothing.

Columns of a pack: K trials, their rate, a step's milliseconds, the peak of allocated memory, operators dispatched by a step. The
line through the seconds of all K, L + K w, says how many times a solo trial's rate K trials could have: K (L + w) / (L + K w).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import transformers
from transformers import LlamaConfig

from benchmarks.gpu_measures import (
    FULL,
    ROWS,
    TINY,
    TWO,
    VIRTUAL_TOKENS,
    Bench,
    bert,
    going_on,
    kernels,
    losses,
    made_backbone,
    made_task,
    made_trial,
    median_step,
    memory,
    operators,
    packable,
    reset_memory,
    say,
    tf32,
)
from benchmarks.gpu_rivals import PROCESSES, peft_rates, processes
from methods.backbone.backbone import Backbone
from search.tasks.label_problems import OneLabel
from search.training.steps.pack import Pack

SST2_ROWS = 67_349


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    ends = time.monotonic() + given.seconds
    bench = Bench(TINY if given.tiny else FULL, "cuda" if torch.cuda.is_available() else "cpu", ends)
    transformers.logging.set_verbosity_error()
    if bench.device == "cpu":
        torch.set_num_threads(1)  # several are far slower on a machine that has other work
    bench.backbone = made_backbone(bert(bench.scale), torch.float32, bench.device)
    bench.task = made_task(bench.scale.train_rows, bench.backbone.shape.vocab_size)
    say_header(bench)
    for title, needed, section in SECTIONS:
        if bench.left < needed:
            say(f"\n{title}: skipped, {bench.left:.0f} s are left and it may need {needed}")
            continue
        say(f"\n{title}   ({bench.left:.0f} s are left)")
        with going_on(title):
            section(bench)
    say(f"\ndone, {bench.left:.0f} s are left")


def packed_rates(bench: Bench) -> None:
    """Section 1."""
    for name in packable():
        with going_on(name):
            rates_of(bench, name, bench.backbone, bench.task, bench.scale.packs)


def many_rows(bench: Bench) -> None:
    """Section 2: the same step, with as many rows to draw from as SST-2 has."""
    task = made_task(SST2_ROWS, bench.backbone.shape.vocab_size)
    with going_on(TWO[0]):
        rates_of(bench, TWO[0], bench.backbone, task, (1, min(16, bench.scale.packs[-1])))


def packed_is_solo(bench: Bench) -> None:
    """Section 3."""
    for name in packable():
        with going_on(name), tf32(False):
            solo = [
                losses([made_trial(name, bench.backbone, bench.task, seed, steps=10)])[0] for seed in range(3)
            ]
            packed = losses(
                [made_trial(name, bench.backbone, bench.task, seed, steps=10) for seed in range(3)]
            )
            apart = max(abs(a - b) for x, y in zip(solo, packed, strict=True) for a, b in zip(x, y, strict=True))  # fmt: skip
            first, last = statistics.fmean(x[0] for x in solo), statistics.fmean(x[-1] for x in solo)
            say(f"  {name:14} largest difference {apart:.1e}   (mean loss {first:.4f} to {last:.4f})")


def decoder_rates(bench: Bench) -> None:
    """Section 6."""
    config = LlamaConfig(**bench.scale.decoder, pad_token_id=0)
    backbone = made_backbone(config, torch.bfloat16, bench.device)
    say(f"  {backbone.shape.parameters / 1e9:.2f} B parameters, {backbone.embeddings.dtype}")
    for name in TWO:
        with going_on(name):
            rates_of(bench, name, backbone, bench.task, bench.scale.decoder_packs)


def own_copies(bench: Bench) -> None:
    """Section 7."""
    with going_on("full"):
        rates_of(bench, "full", bench.backbone, bench.task, (1,))


def other_numbers(bench: Bench) -> None:
    """Section 8: number types that today's default does not use."""
    packs = (1, min(16, bench.scale.packs[-1]))
    half = made_backbone(bert(bench.scale), torch.bfloat16, bench.device)
    for name in TWO:
        with going_on(name):
            rates_of(bench, name, half, bench.task, packs, "bfloat16")
            with tf32(True):
                rates_of(bench, name, bench.backbone, bench.task, packs, "TF32")


def kernels_of(bench: Bench) -> None:
    """Section 9: last, since a profiler that was on once may slow down all that follows."""
    for name in packable():
        pack = Pack()
        for trials in (1, min(16, bench.scale.packs[-1])):
            with going_on(name):
                while len(pack.trials) < trials:
                    pack.attach(made_trial(name, bench.backbone, bench.task, seed=len(pack.trials)))
                for _ in range(3):
                    pack.step()
                say(f"  {name:14} K = {trials:2}  {kernels(pack.step)}")


SECTIONS: tuple[tuple[str, float, Callable[[Bench], None]], ...] = (
    ("1. Packed trials of BERT's shape", 10, packed_rates),
    (f"2. The same with {SST2_ROWS} rows of training data", 10, many_rows),
    ("3. Packed equals solo: 10 steps of 3 seeds, float32 without TF32", 10, packed_is_solo),
    (f"4. {PROCESSES} processes at once on the device, each with a solo trial", 40, processes),
    ("5. peft, one trial at a time", 15, peft_rates),
    ("6. A decoder of Llama's shape, bfloat16", 15, decoder_rates),
    ("7. The method that trains a copy of the model, solo", 5, own_copies),
    ("8. BERT's shape in other number types", 10, other_numbers),
    ("9. Kernels of BERT's shape on the GPU, by torch's profiler", 20, kernels_of),
)


def rates_of(
    bench: Bench, name: str, backbone: Backbone, task: OneLabel, packs: Sequence[int], note: str = ""
) -> None:
    """A line for each K, and the line through their seconds."""
    pack, seconds = Pack(), []
    for trials in packs:
        if bench.left < 3:
            say(f"  {name}: no time left for K = {trials}")
            break
        started = time.perf_counter()
        while len(pack.trials) < trials:
            pack.attach(made_trial(name, backbone, task, seed=len(pack.trials)))
        built = time.perf_counter() - started
        reset_memory()
        seconds.append(median_step(pack, bench.scale.seconds))
        say(
            f"  {name:14} K = {trials:2}  {trials / seconds[-1]:7.1f} trial-steps/s  {1000 * seconds[-1]:7.1f} ms  "
            f"{memory()}, {operators(pack.step)}, built in {built:.1f} s {note}"
        )
    if len(seconds) > 2 or (len(seconds) == 2 and bench.scale is TINY):
        w, fixed = statistics.linear_regression(packs[: len(seconds)], seconds)
        place = min(2, len(seconds) - 1)
        trials = packs[place]
        bound, reached = trials * (fixed + w) / (fixed + trials * w), trials * seconds[0] / seconds[place]
        say(
            f"  {name:14} L = {1000 * fixed:.1f} ms, w = {1000 * w:.2f} ms; at K = {trials} the bound is {bound:.2f} times solo, "
            f"reached {reached:.2f}, {reached / bound:.0%}"
        )


def say_header(bench: Bench) -> None:
    card = (
        torch.cuda.get_device_name() if bench.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    )
    lengths = [row.length for row in bench.task.splits["train"].rows]
    say(
        f"{card}, torch {torch.__version__}, transformers {transformers.__version__}, float32 unless said otherwise "
        f"(TF32 in products: {torch.backends.cuda.matmul.allow_tf32}), {ROWS} rows per trial and step, "
        f"{VIRTUAL_TOKENS} virtual tokens, texts of {min(lengths)} to {max(lengths)} tokens, {statistics.fmean(lengths):.0f} on average, "
        f"{len(lengths)} rows to draw from, {bench.backbone.shape.parameters / 1e6:.0f} M parameters"
    )


if __name__ == "__main__":
    main()
