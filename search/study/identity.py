"""The settings that a study file may not change, because its trials would no longer be comparable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from search.config.study_config import StudyConfig
from search.errors import StudyChangedError

_DEFAULTS: dict[str, Any] = {"measured_costs": []}
"""Settings of the section `search` that may not change, with their defaults."""


def identity(config: StudyConfig, method: str) -> dict[str, Any]:
    """The settings that must stay the same for a method's trials to be comparable."""
    content = json.loads(config.model_dump_json())
    kept = {name: content[name] for name in ("model", "tasks", "training", "seed")}
    chosen = {name: content["search"][name] for name in _DEFAULTS}
    # Defaults are left out: studies made before this setting lack the key.
    search = {name: value for name, value in chosen.items() if value != _DEFAULTS[name]}
    return {**kept, "space": content["methods"][method], **({"search": search} if search else {})}


def refuse_changes(study: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Compares the identity of a stored study with that of the study file.

    Raises:
        StudyChangedError: they differ; the message lists the differences.
    """
    before, now = ({**facts, "search": {**_DEFAULTS, **facts.get("search", {})}} for facts in (before, now))
    changed = [f"  {path}: was {old!r}, is {new!r}" for path, old, new in _differences("", before, now)]
    if changed:
        raise StudyChangedError(
            f"study {study!r} already exists with other settings:\n" + "\n".join(changed) + "\n"
            "Trials with different settings cannot be compared: change them back, or give the study another name."
        )


def _differences(path: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(f"{path}.{name}".lstrip("."), before.get(name), now.get(name))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{path}.{index}", old, new)
    elif before != now:
        yield path, before, now
