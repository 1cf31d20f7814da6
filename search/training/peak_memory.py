"""Measures the peak memory of some work, on the GPU if the work is there, else of this process."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


class PeakMemory:
    """Measures the peak memory from its creation on.

    On a GPU it is what PyTorch allocated. On a CPU it is the resident memory of the process with its libraries, which
    only Linux tells.

    Args:
        device: the device of the work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            ctypes.CDLL(None).malloc_trim(0)  # return memory that earlier work has freed
            (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
        except (OSError, AttributeError):
            self._known = False

    def bytes(self) -> int | None:
        """The peak so far in bytes; None if it is not known."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if not self._known:
            return None
        found = re.search(r"VmHWM:\s*(\d+) kB", (_PROCESS / "status").read_text(encoding="ascii"))
        return int(found[1]) * 1024 if found else None
