"""What a task answers with: one file for each form of answer, found by its name.

A form knows the head, how a text becomes tokens, and how the head's output becomes an answer. Kinds of task choose
one (`search/tasks/`), and so does a saved method: `label`, `tags`, `span` or `text`.

A module of this package has

    COLUMNS                                      names of what is given for one answer
    needs_language_model(settings)               whether the model's own head for words is needed
    head(readout, labels, settings, backbone)    the head; its parameters' values have no meaning yet
    predict(model, given, task)                  answers of a `methods/answers/trained.py` model
"""

from __future__ import annotations

import importlib
from types import ModuleType


def get(name: str) -> ModuleType:
    """The form of that name."""
    return importlib.import_module(f"methods.answers.{name}")
