"""Measures what a finalist costs with nothing else running; in a search, trials share cores, so times cannot be compared.

After the search, one run of each method's chosen finalist is measured, one at a time, with the cores or the GPU of a
trial. For training it measures the median time of a few steps and their peak memory, and for serving the deployed form
(`search/training/latency.py`).
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch

from methods import parameters
from search.job import Job
from search.training import frozen_features, latency, worker
from search.training.peak_memory import PeakMemory
from search.training.steps.pack import Pack
from search.training.trial import Trial

_WARM_UP = 2
_STEPS = 8
_SECONDS = 20.0
"""Seconds after which a measurement of a large model stops early."""

Probe = dict[str, Any]


def measure(job: dict[str, Any]) -> Probe:
    """Measures the costs of a run; called in a worker. docs/report.md describes the fields."""
    parsed = Job(**job)
    study = worker.study_config(parsed.study)
    resources = worker.load(parsed.study)
    probed = worker.build(parsed, resources)
    device = probed.backbone.device
    memory = PeakMemory(device)
    once, step = _train_seconds(probed)
    peak = memory.bytes()
    size = parameters.deployed_bytes(probed.method, probed.backbone) + sum(
        tensor.numel() * tensor.element_size() for tensor in parameters.state(probed.heads).values()
    )
    with torch.no_grad():
        probed.method = probed.method.deployed(probed.backbone)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "train_step_seconds": step,
        "train_seconds": once + step * study.training.max_steps,
        "peak_memory_bytes": peak,
        "latency_seconds": latency.latency(probed, resources.tasks, resources.backbone),
        "rows_per_second": latency.rows_per_second(
            probed, resources.tasks, resources.backbone, study.training.per_device_eval_batch_size
        ),
        "bytes": size,
    }


def _train_seconds(probed: Trial) -> tuple[float, float]:
    """Seconds of what training computes once, and the median of a step, after a warm-up; both 0 if nothing is trained."""
    if not probed.parameters:
        return 0.0, 0.0
    pack = Pack()
    pack.attach(probed)
    frozen_features.forget()
    times: list[float] = []
    began = time.perf_counter()
    pack.step()
    first = time.perf_counter() - began
    for _ in range(_WARM_UP - 1):
        pack.step()
    while len(times) < _STEPS and not (len(times) >= 3 and sum(times) > _SECONDS):
        started = time.perf_counter()
        pack.step()  # it reads the loss, and so waits for the GPU
        times.append(time.perf_counter() - started)
    step = median(times)
    return (max(0.0, first - step) if probed.needs_no_forward else 0.0), step
