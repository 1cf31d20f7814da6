"""What packed trials compete with on a GPU (benchmarks/gpu.py): processes that share it, and peft."""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from torch import multiprocessing
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification

from benchmarks.gpu_measures import (
    ROWS,
    TWO,
    VIRTUAL_TOKENS,
    Bench,
    Scale,
    bert,
    going_on,
    made_backbone,
    made_task,
    made_trial,
    memory,
    say,
    synchronize,
    timed_step,
)
from search.training.steps.pack import Pack

PROCESSES = 4


def processes(bench: Bench) -> None:
    """Section 4: the rates of solo trials, each in a process of its own, added up."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(PROCESSES), context.Queue()
    arguments = (bench.scale, bench.device, barrier, queue)
    started = [context.Process(target=solo_process, args=arguments, daemon=True) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    found: dict[str, list[float]] = {name: [] for name in TWO}
    try:
        for _ in range(PROCESSES * len(TWO)):
            name, value = queue.get(timeout=max(1.0, min(120.0, bench.left)))
            if isinstance(value, str):
                raise RuntimeError(f"a process failed: {value}")
            found[name].append(value)
            if len(found[name]) == PROCESSES:
                say(f"  {name:14} {PROCESSES} processes: {sum(found[name]):7.1f} trial-steps/s together")
    finally:
        for process in started:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()


def solo_process(scale: Scale, device: str, barrier: Any, queue: Any) -> None:
    """In a process of its own: steps of a solo trial for a while, all processes at once."""
    name = ""
    try:
        torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
        bench = Bench(scale, device, 0.0)
        bench.backbone = made_backbone(bert(scale), torch.float32, device)
        bench.task = made_task(scale.train_rows, bench.backbone.shape.vocab_size)
        for name in TWO:
            pack = Pack()
            pack.attach(made_trial(name, bench.backbone, bench.task, seed=0))
            for _ in range(3):
                timed_step(pack.step)
            barrier.wait(timeout=100)
            started, steps = time.perf_counter(), 0
            while time.perf_counter() - started < scale.apart_seconds:
                pack.step()
                steps += 1
            synchronize()
            queue.put((name, steps / (time.perf_counter() - started)))
    except Exception as error:
        queue.put((name, f"{type(error).__name__}: {error}"))
        barrier.abort()


def peft_rates(bench: Bench) -> None:
    """Section 5: what a user of peft runs, one trial at a time."""
    import peft

    say(f"  peft {peft.__version__}, batches in random order")
    common = {"task_type": "SEQ_CLS"}
    attention = ["query", "key", "value", "attention.output.dense"]
    made: dict[str, Callable[[], Any]] = {
        "PromptTuning": lambda: peft.PromptTuningConfig(**common, num_virtual_tokens=VIRTUAL_TOKENS),
        "PrefixTuning": lambda: peft.PrefixTuningConfig(**common, num_virtual_tokens=VIRTUAL_TOKENS),
        "LoRA": lambda: peft.LoraConfig(**common, r=8, target_modules=attention),
    }
    for name, config in made.items():
        for how, rate in (("Trainer", trainer_rate), ("plain loop", loop_rate)):
            with going_on(f"{name}, {how}"):
                per_second = rate(peft_model(bench, config()), peft_rows(bench), bench.scale.peft_steps)
                say(f"  {name:14} {how:10} {per_second:7.1f} trial-steps/s, {memory()}")


def peft_model(bench: Bench, config: Any) -> Any:
    """The shared BERT's shape with transformers' head and peft's adapter, to be trained."""
    import peft

    torch.manual_seed(0)
    with torch.device(bench.device):
        whole = AutoModelForSequenceClassification.from_config(bert(bench.scale))
    return peft.get_peft_model(whole, config).to(bench.device).train()


def peft_rows(bench: Bench) -> list[dict[str, Any]]:
    rows = bench.task.splits["train"].rows
    return [{"input_ids": row.input_ids, "labels": row.targets[0]} for row in rows]


def trainer_rate(model: Any, rows: Sequence[dict[str, Any]], steps: int) -> float:
    """Steps a second of transformers' Trainer, after the first ones."""
    times: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            synchronize()
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=ROWS, learning_rate=1e-3,
            report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )  # fmt: skip
        trainer: Any = transformers.Trainer(
            model, arguments, data_collator=padded, train_dataset=list(rows), callbacks=[Clock()]
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return 1 / statistics.median(b - a for a, b in itertools.pairwise(times[5:]))


def loop_rate(model: Any, rows: Sequence[dict[str, Any]], steps: int) -> float:
    """Steps a second of the shortest loop that trains: forward, backward, clipping, AdamW."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, draw = torch.optim.AdamW(trained, lr=1e-3), random.Random(0)
    device = trained[0].device

    def step() -> None:
        batch = {name: part.to(device) for name, part in padded(draw.sample(rows, ROWS)).items()}
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return 1 / statistics.median([timed_step(step) for _ in range(steps)][5:])


def padded(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """The rows as a batch."""
    texts = [torch.tensor(row["input_ids"]) for row in rows]
    mask = pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": pad_sequence(texts, batch_first=True), "attention_mask": mask, "labels": labels}
