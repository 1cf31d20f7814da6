"""An exported method as MLflow serves it ("models from code"): this file goes with the model, beside `methods/`.

It needs nothing of promptfront but the package `methods`, whose copy travels with it. The frozen model is not in it:
it is looked for where it was, else under its hub id; PROMPTFRONT_MODEL names another place. `methods.load` refuses
other weights than those it was trained on.
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
    """Rows of a table in, a list of what `methods.load(folder).predict` answers out."""

    _skip_type_hint_validation = (
        True  # the signature says what a row is, and hints of ours would be a second one
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
            model_input: a DataFrame with the columns of the task's answer: text and perhaps text_pair, or question
                and context.
            params: `task`, where there are several.
        """
        task = (params or {}).get("task") or None
        rows = model_input.to_dict("records")
        columns = self._predictor.columns(task)
        return self._predictor.predict([_given(row, columns) for row in rows], task)


def _given(row: dict[str, Any], columns: tuple[str, ...]) -> Any:
    """A row as `methods.load(folder).predict` takes it."""
    present = [row[name] for name in columns if isinstance(row.get(name), str)]
    if not present:
        raise ValueError(f"a row must have {' and '.join(columns)}; it has {', '.join(map(str, row))}")
    return tuple(present) if len(present) == 2 else present[0]


set_model(ServedModel())
