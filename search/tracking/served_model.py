"""An exported method as MLflow serves it ("models from code"). This file is saved with the model, beside `methods/`.

Of promptfront it needs only the package `methods`, which is copied into the model. The frozen model is not included:
it is loaded from its former folder, else by its hub id, or from the place that PROMPTFRONT_MODEL names. `methods.load`
refuses weights other than those the method was trained on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

import methods
from methods.saved import folder as saved_folder


class ServedModel(PythonModel):  # type: ignore[misc]
    """Takes a table and returns the list of answers that `methods.load(folder).predict` gives."""

    _skip_type_hint_validation = (
        True  # the signature describes the input; type hints would be a second description
    )

    def load_context(self, context: Any) -> None:
        """Loads the exported folder (safetensors and JSON)."""
        folder = Path(context.artifacts["method"])
        recorded = saved_folder.read(folder).model
        elsewhere = (context.model_config or {}).get("hub_id") or recorded
        where = os.environ.get("PROMPTFRONT_MODEL") or (recorded if Path(recorded).is_dir() else elsewhere)
        self._predictor = methods.load(folder, model=where)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Answers each row.

        Args:
            context: unused.
            model_input: a DataFrame with the task's columns: text and perhaps text_pair, or question and context.
            params: the parameter `task`, if there are several tasks.
        """
        task = (params or {}).get("task") or None
        rows = model_input.to_dict("records")
        columns = self._predictor.columns(task)
        return self._predictor.predict([_given(row, columns) for row in rows], task)


def _given(row: dict[str, Any], columns: tuple[str, ...]) -> Any:
    """Turns a row of the table into the input of `methods.load(folder).predict`."""
    present = [row[name] for name in columns if isinstance(row.get(name), str)]
    if not present:
        raise ValueError(f"a row must have {' and '.join(columns)}; it has {', '.join(map(str, row))}")
    return tuple(present) if len(present) == 2 else present[0]


set_model(ServedModel())
