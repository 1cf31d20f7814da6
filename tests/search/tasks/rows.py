"""Rows of a data set, and what a split has of them."""

from __future__ import annotations

from typing import Any

from search.tasks import Split

Rows = list[dict[str, Any]]


def row(text: Any, label: Any) -> dict[str, Any]:
    return {"text": text, "label": label}


def input_ids(split: Split) -> list[list[int]]:
    return [row.input_ids for row in split.rows]


def targets(split: Split) -> list[Any]:
    return [row.targets for row in split.rows]
