"""Logs an exported method as an MLflow model of the study's run, and registers it on request."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

import methods
from methods import registry
from search.config import places
from search.config.study_config import StudyConfig
from search.config.task_config import TaskConfig
from search.export.folder import Exported
from search.tracking import mlflow_store
from search.tracking.study_run import StudyRun

_SHA256 = "promptfront.sha256"
_METHODS = Path(methods.__file__).parent
_CODE = Path(__file__).with_name("served_model.py")


def log(config: StudyConfig, exported: Exported, register: str | None = None) -> str:
    """Logs an exported method as a model of the study's run; the same tensors are logged only once.

    Args:
        config: the study.
        exported: the exported method.
        register: the name under which the model registry gets a new version; None registers nothing.

    Returns:
        The model's URI, for `mlflow models serve --model-uri`.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    address = places.mlflow_uri(config)
    with mlflow_store.errors(address):
        client = mlflow_store.connect(address)
        experiment, run = StudyRun.find(client, config)
        model_id = _logged(client, experiment, exported) or _log(client, config, exported, experiment, run)
        if register is None:
            return f"models:/{model_id}"
        return f"models:/{register}/{_register(client, register, model_id, run)}"


def _logged(client: MlflowClient, experiment: str, exported: Exported) -> str | None:
    for found in client.search_logged_models(
        [experiment], filter_string=f"tags.`{_SHA256}` = '{_sha256(exported)}'"
    ):
        if str(found.status) == "READY":
            model_id: str = found.model_id
            return model_id
    return None


def _log(client: MlflowClient, config: StudyConfig, exported: Exported, experiment: str, run: str) -> str:
    made = client.create_logged_model(
        experiment,
        name=exported.method,
        source_run_id=run,
        params={name: str(value) for name, value in exported.config.items()},
        tags={_SHA256: _sha256(exported), "promptfront.trial": exported.trial},
        model_type="promptfront",
    )
    model_id: str = made.model_id
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            save(
                config,
                exported,
                path,
                Model(artifact_path=made.artifact_location, run_id=run, model_id=model_id),
            )
            client.log_model_artifacts(model_id, str(path))
        client.log_outputs(run, [LoggedModelOutput(model_id, step=0)])
    except BaseException:
        client.finalize_logged_model(model_id, "FAILED")
        raise
    client.finalize_logged_model(model_id, "READY")
    return model_id


def save(config: StudyConfig, exported: Exported, path: Path, model: Model | None = None) -> None:
    """Writes the MLflow model to a new folder: code and the exported folder, without a pickle."""
    hub_id = config.model.name_or_path
    mlflow.pyfunc.save_model(
        path=str(path),
        python_model=str(_CODE),
        artifacts={"method": str(exported.folder)},
        code_paths=[str(_METHODS)],
        signature=signature(config),
        input_example=example(config),
        pip_requirements=_requirements(exported.method),
        model_config={} if hub_id.startswith("package:") or Path(hub_id).exists() else {"hub_id": hub_id},
        mlflow_model=model or Model(),
    )


def _register(client: MlflowClient, name: str, model_id: str, run: str) -> str:
    """Registers the model under a name, only once, and returns its version."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # The artifact's path, since MLflow would look models:/ID up in the process's default store.
    place = client.get_logged_model(model_id).artifact_location
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.source == place:
            return str(version.version)
    made = client.create_model_version(name, place, run_id=run, model_id=model_id)
    return str(made.version)


def signature(config: StudyConfig) -> ModelSignature:
    """The model's signature: input columns, type of the answer, and a parameter `task` if there are several tasks."""
    several = len(config.tasks) > 1
    columns = list(dict.fromkeys(name for task in config.tasks for name in task.request))
    inputs = Schema([ColSpec(DataType.string, name, required=not several) for name in columns])
    types = {str(_answer(task)): _answer(task) for task in config.tasks}
    outputs = Schema([ColSpec(types.popitem()[1])]) if len(types) == 1 else None
    which = ParamSchema([ParamSpec("task", DataType.string, config.tasks[0].name)]) if several else None
    return ModelSignature(inputs=inputs, outputs=outputs, params=which)


def example(config: StudyConfig) -> pd.DataFrame | tuple[pd.DataFrame, dict[str, Any]]:
    """An input example: two rows for the first task, with the parameter `task` if there are several tasks."""
    columns = config.tasks[0].request
    table = pd.DataFrame({name: [text, f"Another: {text}"] for name, text in columns.items()})
    return (table, {"task": config.tasks[0].name}) if len(config.tasks) > 1 else table


def _answer(task: TaskConfig) -> DataType | Array:
    return {"text": DataType.string, "number": DataType.double, "texts": Array(DataType.string)}[
        task.answer_type
    ]


def _requirements(method: str) -> list[str]:
    """The installed versions of the packages the model needs, without build names.

    If another package offers the method, that package is included.
    """
    packages = ("mlflow", "torch", "transformers", "safetensors", "pandas")
    offered = registry.distribution(method)
    versions = [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in packages]
    return [*versions, *([offered] if offered else [])]


def _sha256(exported: Exported) -> str:
    digest: str = json.loads((exported.folder / "method.json").read_text(encoding="utf-8"))["sha256"]
    return digest
