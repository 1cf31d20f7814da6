"""The methods, one file for each. This package needs only torch and transformers.

`names()` lists them, `get(name)` imports one, `describe(name)` reads one without importing torch, and `load(folder)`
loads one that was trained and exported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from methods.registry import Description, UnknownMethodError, describe, get, names

if TYPE_CHECKING:
    from methods.saved.predictor import Predictor

__all__ = ["Description", "UnknownMethodError", "describe", "get", "load", "names"]


def load(folder: Path | str, *, model: str | None = None, device: str = "cpu") -> Predictor:
    """Loads a folder of `promptfront export`, ready to predict; see `methods.saved.predictor.load`."""
    from methods.saved import predictor

    return predictor.load(folder, model=model, device=device)
