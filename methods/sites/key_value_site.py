"""The key/value site: virtual tokens as keys and values in front of each layer's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.backbone.injection import Injection, Prefix, Site, full_mask
from methods.method import PromptConfig, Rows, Start, hyperparameter
from methods.space import Choice, Text

if TYPE_CHECKING:
    from methods.backbone.shape import Shape

_PROBE_TOKENS = 256

OUT_OF_REACH = (
    "keys and values cannot be put into this model, whose attention does not go through transformers' interface: "
    "leave the method out, or choose a model such as BERT, RoBERTa, GPT-2 or Llama"
)


@dataclass(frozen=True)
class KeyValueConfig(PromptConfig):
    """Hyperparameters of methods that put keys and values in front of the layers' own."""

    layers: str = hyperparameter(
        "all",
        allowed=Text(),
        searched=False,
        help='layers that get a prefix: all, or a list such as "0-2, 5"',
    )
    shift_positions: bool = hyperparameter(
        False, allowed=Choice((False, True)), searched=False, help="start the text at position P"
    )

    def problems(self, shape: Shape, max_length: int) -> list[str]:
        found = super().problems(shape, max_length)
        if not shape.sites:
            return [*found, OUT_OF_REACH]
        try:
            chosen_sites(self.layers, shape)
        except ValueError as error:
            found.append(str(error))
        if self.shift_positions and not shape.shifts_text:
            found.append("shift_positions must be false: the model counts positions itself, from the front")
        if self.shift_positions:
            found += self._position_problem(shape, max_length)
        return found


def chosen_sites(layers: str, shape: Shape) -> tuple[Site, ...]:
    """The sites that `layers` names: "all", or numbers from 0 and ranges of them, such as "0-2, 5".

    Raises:
        ValueError: it names none, or one that is not there; the message begins with "layers".
    """
    sites = tuple(shape.sites)
    if layers == "all":
        return sites
    wanted: set[int] = set()
    try:
        for part in layers.split(","):
            low, _, high = part.partition("-")
            numbers = range(int(low), int(high or low) + 1)
            if not numbers:
                raise ValueError
            wanted.update(numbers)
    except ValueError:
        raise ValueError(f'layers must be all, or a list such as "0-2, 5", not {layers!r}') from None
    if max(wanted) >= len(sites):
        raise ValueError(
            f"layers must be at most {len(sites) - 1} in a model of {len(sites)}, not {max(wanted)}"
        )
    return tuple(sites[number] for number in sorted(wanted))


def table_injection(
    tables: Mapping[Site, tuple[Tensor, Tensor]], rows: Rows, shift_positions: bool
) -> Injection:
    """The injection of tables of keys and values, one per task.

    Args:
        tables: by site, keys and values `[tasks, N, P, D]`.
        rows: of the batch.
        shift_positions: whether the text starts at position P rather than at 0.
    """
    length = next(iter(tables.values()))[0].shape[2]
    mask_BP = full_mask(len(rows), length, rows.task_B.device)
    return Injection(
        rows=len(rows),
        prefixes={
            site: Prefix(key[rows.task_B], value[rows.task_B], mask_BP)
            for site, (key, value) in tables.items()
        },
        offset_B=torch.full_like(rows.task_B, length) if shift_positions else None,
    )


def random_text(start: Start) -> Tensor:
    """Input embeddings of a text of random tokens, `[1, T, E]`: it shows the scale of a layer's keys and values."""
    shape = start.backbone.shape
    length = min(_PROBE_TOKENS, shape.max_positions or _PROBE_TOKENS)
    ids_1T = torch.randint(shape.vocab_size, (1, length), generator=start.generator)
    return start.backbone.embed(ids_1T.to(start.backbone.device))


def matched(own_1NTD: Tensor, lead: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random keys, or values, with the mean and deviation of a layer's own per head and dimension: `[*lead, N, D]`."""
    own_NTD = own_1NTD[0].float().cpu()
    mean_ND, std_ND = own_NTD.mean(1), own_NTD.std(1)
    return mean_ND + std_ND * torch.randn(*lead, *mean_ND.shape, generator=generator)
