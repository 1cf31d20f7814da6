"""The tiny backbone, and a task of topics for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from methods.backbone.backbone import Backbone
from search import tasks
from search.config import study_file
from search.tasks import Task
from tests.search.conftest import write_study


@pytest.fixture
def backbone(tiny_model: Path) -> Backbone:
    return Backbone.load(str(tiny_model))


@pytest.fixture
def task(study: dict[str, Any], tmp_path: Path, tiny_tokenizer: Any) -> Task:
    config = study_file.load(write_study(study, tmp_path))
    return tasks.load(config.tasks[0], tiny_tokenizer, 12, seed=0)
