"""The memory of this machine: how much is free, and who holds the rest."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_THRESHOLD = "RAY_memory_usage_threshold"
"""Ray's setting: the share of the memory above which it ends processes, the newest first."""
_GROUP = Path("/sys/fs/cgroup")


def total() -> int:
    """The bytes that processes may use in all: the machine's, or the container's where that is less."""
    there = psutil.virtual_memory().total
    return min(there, _of_group("memory.max") or there)


def free() -> int:
    """The bytes that new processes can use before Ray ends one."""
    there = psutil.virtual_memory().available
    limit, used = _of_group("memory.max"), _of_group("memory.current")
    if limit is not None and used is not None:
        cached = _of_group("memory.stat", "inactive_file") or 0
        there = min(there, limit - used + cached)
    kept = 1 - float(os.environ.get(_THRESHOLD, 0.95))
    return max(0, there - int(kept * total()))


def largest_other() -> str | None:
    """The process that holds the most memory, of those that this one did not start, in words; None if it holds little."""
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    held = []
    for process in psutil.process_iter(["pid", "memory_info", "username"]):
        info = process.info
        if info["pid"] not in ours and info["memory_info"] is not None:
            held.append((info["memory_info"].rss, info["pid"], info["username"]))
    size, number, user = max(held, default=(0, 0, None))
    return f"process {number} of {user} holds {gigabytes(size)}" if size > 2**30 / 2 else None


def gigabytes(count: float) -> str:
    """A number of bytes, in words."""
    return f"{count / 2**30:.1f} GiB"


def _of_group(name: str, field: str | None = None) -> int | None:
    """A number of this process's control group (version 2); None where there is none, or no limit."""
    try:
        text = (_GROUP / name).read_text(encoding="ascii")
    except OSError:
        return None
    if field is not None:
        text = dict(line.split() for line in text.splitlines()).get(field, "")
    return int(text) if text.strip().isdigit() else None
