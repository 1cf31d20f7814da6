"""The key/value site: virtual tokens as keys and values in front of each layer's own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.backbone.injection import Injection, Prefix, Site, full_mask
from methods.bundles.bundle import first_of
from methods.method import Rows, Start

_PROBE_TOKENS = 256


def table_injection(
    tables: Mapping[Site, tuple[Tensor, Tensor]],
    rows: Rows,
    shift_positions: bool,
    length_B: Tensor | None = None,
) -> Injection:
    """Makes the injection from tables of keys and values, one per task.

    Args:
        tables: the keys and values of each site, `[X, N, P, D]`; `rows.task_B` says which of the X a row gets.
        rows: the rows of the batch.
        shift_positions: whether the text starts at position P instead of 0.
        length_B: `[B]` int64, how many of the P virtual tokens a row gets; None: all of them.
    """
    length = next(iter(tables.values()))[0].shape[2]
    device = rows.task_B.device
    mask_BP = full_mask(len(rows), length, device) if length_B is None else first_of(length_B, length)
    offset_B = torch.full_like(rows.task_B, length) if length_B is None else length_B
    return Injection(
        rows=len(rows),
        prefixes={
            site: Prefix(key[rows.task_B], value[rows.task_B], mask_BP)
            for site, (key, value) in tables.items()
        },
        offset_B=offset_B if shift_positions else None,
    )


def random_text(start: Start) -> Tensor:
    """The input embeddings of random tokens, `[1, T, E]`, which show the scale of a layer's keys and values."""
    shape = start.backbone.shape
    length = min(_PROBE_TOKENS, shape.max_positions or _PROBE_TOKENS)
    ids_1T = torch.randint(shape.vocab_size, (1, length), generator=start.generator)
    return start.backbone.embed(ids_1T.to(start.backbone.device))


def training_text(start: Start, task: int, length: int) -> Tensor:
    """The input embeddings of training rows of a task, drawn one after the other, `[1, T, E]`.

    T is `length`, or as many positions as the model has.
    """
    length = min(length, start.backbone.shape.max_positions or length)
    ids: list[int] = []
    for _ in range(length):  # a row has a token at least
        if len(ids) < length:
            ids += start.example(task)
    return start.backbone.embed(torch.tensor([ids[:length]], device=start.backbone.device))


def matched(own_1NTD: Tensor, lead: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draws keys or values with the mean and deviation of a layer's own, per head and dimension, `[*lead, N, D]`."""
    own_NTD = own_1NTD[0].float().cpu()
    mean_ND, std_ND = own_NTD.mean(1), own_NTD.std(1)
    return mean_ND + std_ND * torch.randn(*lead, *mean_ND.shape, generator=generator)
