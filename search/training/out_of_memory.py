"""Does work in smaller parts where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

_Result = TypeVar("_Result")


def with_fewer(size: int, work: Callable[[int], _Result]) -> _Result:
    """Calls `work` with a number of rows that run at once, and with half as many as long as memory runs out."""
    while True:
        try:
            return work(size)
        except RuntimeError as error:
            if not out_of_memory(error) or size == 1:
                raise
        size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that PyTorch ran out of memory; oneDNN, on CPUs, says it only indirectly."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "can't allocate memory" in str(error)
        or str(error) == "could not create a primitive"
    )
