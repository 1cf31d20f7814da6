"""The most memory that a stretch of work held: of the GPU where the work is there, else of this process."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


class PeakMemory:
    """Counts from its making on.

    On a GPU: what PyTorch allocated there. Else the resident memory of the process, its libraries included, as Linux
    counts it; on other systems nothing is known.

    Args:
        device: where the work is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            ctypes.CDLL(None).malloc_trim(0)  # what earlier work freed is not this work's
            (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
        except (OSError, AttributeError):
            self._known = False

    def bytes(self) -> int | None:
        """The peak so far, in bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if not self._known:
            return None
        found = re.search(r"VmHWM:\s*(\d+) kB", (_PROCESS / "status").read_text(encoding="ascii"))
        return int(found[1]) * 1024 if found else None
