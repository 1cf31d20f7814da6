"""What benchmarks/gpu.py and benchmarks/gpu_rivals.py share: models and trials made in memory, and what is measured of a step."""

from __future__ import annotations

import dataclasses
import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, BertConfig

import methods
from methods.backbone import attention
from methods.backbone.backbone import Backbone
from search.config.study_config import TrainingConfig
from search.tasks import Row, Split
from search.tasks.label_problems import OneLabel
from search.training.steps.pack import Pack
from search.training.trial import Trial

ROWS, VIRTUAL_TOKENS = 8, 16
TWO = ("prompt_tuning", "p_tuning_v2")
"""The methods that stand for all: one at the input, one at the keys and values."""
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # ours have none either
TINY_SHAPE = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
LLAMA_SHAPE = {
    "vocab_size": 32_000,
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
}


@dataclass(frozen=True)
class Scale:
    """How large everything is; `seconds` are those of one measurement."""

    encoder: dict[str, Any]
    decoder: dict[str, Any]
    packs: tuple[int, ...] = (1, 4, 16, 32)
    decoder_packs: tuple[int, ...] = (1, 8)
    train_rows: int = 2048
    seconds: float = 1.0
    apart_seconds: float = 6.0
    peft_steps: int = 60


FULL = Scale({}, LLAMA_SHAPE)
TINY = Scale(TINY_SHAPE, {**TINY_SHAPE, "num_key_value_heads": 2}, (1, 4), (1, 4), 128, 0.1, 0.5, 12)


@dataclass
class Bench:
    """The run: its scale, its device, when it ends, and the BERT that most sections share."""

    scale: Scale
    device: str
    ends: float
    backbone: Backbone = dataclasses.field(init=False)
    task: OneLabel = dataclasses.field(init=False)

    @property
    def left(self) -> float:
        return self.ends - time.monotonic()


def packable() -> Iterator[str]:
    """Names of the methods whose trials can share a forward."""
    for name in methods.names():
        try:
            if not methods.get(name).Method.private_backbone:
                yield name
        except ImportError as error:  # of peft, whose version is not ours to choose
            say(f"  {name}: cannot be imported: {error}")


def made_trial(name: str, backbone: Backbone, task: OneLabel, seed: int, steps: int = 10**6) -> Trial:
    """A trial of a method, with 16 virtual tokens for each row if it has any."""
    module = methods.get(name)
    config = module.Config()
    if "num_virtual_tokens" in module.Config.fields():
        each_row = config.row_tokens // config.num_virtual_tokens
        config = module.Config(num_virtual_tokens=VIRTUAL_TOKENS // each_row)
    settings = TrainingConfig(max_steps=steps, eval_steps=1, per_device_train_batch_size=ROWS)
    return Trial(module.Method, config, backbone, [task], [1.0], settings, seed)


def made_task(rows: int, vocabulary: int) -> OneLabel:
    """Two classes; random tokens, in lengths like those of SST-2's sentences."""
    draw = random.Random(0)
    lengths = [min(60, max(5, round(draw.lognormvariate(3.1, 0.5)))) for _ in range(rows)]
    texts = [[draw.randrange(5, vocabulary) for _ in range(length)] for length in lengths]
    split = Split([Row(text, [draw.randrange(2)]) for text in texts], sha256="")
    return OneLabel(
        name="made", metric="accuracy", labels=("a", "b"), label_ids=[[5], [6]],
        splits={"train": split}, encode=lambda text: [],
    )  # fmt: skip


def bert(scale: Scale) -> BertConfig:
    return BertConfig(**scale.encoder, **NO_DROPOUT, num_labels=2)


def made_backbone(config: Any, dtype: torch.dtype, device: str) -> Backbone:
    """A model with random weights, made on the device."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModel.from_config(config, dtype=dtype, attn_implementation=attention.IMPLEMENTATION)
    return Backbone(model)


def median_step(pack: Pack, seconds: float) -> float:
    """Median seconds of a step, of 5 steps or of as many as fit."""

    def step() -> None:
        failed = [loss for loss in pack.step() if not isinstance(loss, float)]
        if failed:
            raise failed[0]

    for _ in range(3):
        timed_step(step)
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        times.append(timed_step(step))
    return statistics.median(times)


def timed_step(step: Callable[[], object]) -> float:
    synchronize()
    started = time.perf_counter()
    step()
    synchronize()
    return time.perf_counter() - started


class Operators(TorchDispatchMode):
    """Counts operators that are dispatched."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operators(step: Callable[[], object]) -> str:
    """How many operators a step dispatches."""
    try:
        with Operators() as found:
            step()
    except Exception as error:  # a figure less, not a section less
        return f"operators not counted ({type(error).__name__}: {str(error)[:80]})"
    return f"{found.count} operators"


def kernels(step: Callable[[], object]) -> str:
    """How many kernels a step runs on the GPU, and how busy they keep it; without one, the same of the CPU's operators."""
    kind = "CUDA" if torch.cuda.is_available() else "CPU"
    activity = getattr(torch.profiler.ProfilerActivity, kind)
    seconds = timed_step(step)
    with torch.profiler.profile(activities=[activity]) as profile:
        timed_step(step)
    found = [
        event.time_range.elapsed_us() / 1e6
        for event in profile.events() or ()
        if event.device_type.name == kind
        and not event.name.startswith(("Memcpy", "Memset", "Optimizer", "ProfilerStep"))
    ]
    return f"{len(found)} kernels, {1000 * sum(found):.1f} ms of a step's {1000 * seconds:.1f} ms"


def losses(trials: Sequence[Trial]) -> list[list[float]]:
    """The loss of each trial at each of 10 steps, in one pack."""
    pack = Pack()
    for trial in trials:
        pack.attach(trial)
    steps = [pack.step() for _ in range(10)]
    return [[float(step[number]) for step in steps] for number in range(len(trials))]  # type: ignore[arg-type]


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def going_on(what: str) -> Iterator[None]:
    """What fails inside is said, and the run goes on, with the memory given back."""
    try:
        yield
    except Exception as error:
        say(f"  {what}: FAILED: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    gc.collect()
    reset_memory()


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """For the length of a `with`, products and LSTMs use TF32 or do not."""
    places: tuple[Any, Any] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = on
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory() -> str:
    if not torch.cuda.is_available():
        return "no GPU memory"
    return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
