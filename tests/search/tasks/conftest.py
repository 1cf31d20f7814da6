"""Tasks on data files that a test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from search.config import kinds
from tests.search.conftest import make_rows
from tests.search.tasks.rows import Rows
from tests.search.tasks.writing import model_folder


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes splits as a data file and returns the task on it; other arguments are the task's settings."""

    def write(
        splits: dict[str, Rows] | None = None, source: dict[str, Any] | None = None, **settings: Any
    ) -> Any:
        splits = splits or {split: make_rows(split) for split in ("train", "validation", "test")}
        path = tmp_path / "rows.py"
        path.write_text(f"def splits(): return {splits!r}")
        where = {"path": str(path), "validation_split": "validation", **(source or {})}
        return kinds.parse({"name": "t", "text": "text", "label": "label", "data": where, **settings})

    return write


@pytest.fixture
def writing_tokenizer(tiny_tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Words, without special tokens around a text, but one that ends it."""
    tiny_tokenizer.eos_token = "[SEP]"
    tiny_tokenizer.backend_tokenizer.post_processor = None
    return tiny_tokenizer


@pytest.fixture(params=["gpt2", "t5"])
def writing_folder(request: pytest.FixtureRequest, tmp_path: Path, writing_tokenizer: Any) -> Path:
    """A tiny decoder or encoder-decoder with its language model's head."""
    return model_folder(request.param, tmp_path / "model", writing_tokenizer)
