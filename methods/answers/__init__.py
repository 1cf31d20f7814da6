"""The forms of answer, one file for each: `label`, `tags`, `span` and `text`.

A form makes the head, turns a text into tokens, and turns the head's output into an answer. Kinds of task
(`search/tasks/`) and saved methods name their form.

A module of this package has

    COLUMNS                                      names of the inputs for one answer
    needs_language_model(settings)               whether the model's own language-model head is needed
    head(readout, labels, settings, backbone)    makes the head, with parameters that are not initialised
    predict(model, given, task)                  answers with a model of `methods/answers/trained.py`
"""

from __future__ import annotations

import importlib
from types import ModuleType


def get(name: str) -> ModuleType:
    """The module of a form of answer."""
    return importlib.import_module(f"methods.answers.{name}")
