"""The study's own run in MLflow: its settings, its data sets, and at the end its verdict, report and averages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from search.config.study_config import StudyConfig
from search.errors import NoStudyError
from search.tracking import mlflow_store

_KIND = "promptfront.kind"
_EXPERIMENT_KIND = "mlflow.experimentKind"  # without it, MLflow's page opens for chat applications
_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}


class StudyRun:
    """A study's experiment and the run for the study as a whole; both are created if they do not exist."""

    def __init__(self, client: MlflowClient, config: StudyConfig, address: str) -> None:
        self._client = client
        self._config = config
        self.experiment = _experiment(client, config, address)
        found = _find(client, self.experiment)
        if found:
            self.id: str = found
            client.update_run(self.id, status="RUNNING")
        else:
            # These tags have the user and the commit, as in runs that MLflow starts itself.
            run = client.create_run(
                self.experiment, run_name=config.study, tags=resolve_tags({_KIND: "study"})
            )
            self.id = run.info.run_id
            client.log_batch(
                self.id, params=[Param(name, str(value)) for name, value in _params(config).items()]
            )

    @staticmethod
    def find(client: MlflowClient, config: StudyConfig) -> tuple[str, str]:
        """Finds the ids of a study's experiment and of its run, without changing them.

        Raises:
            NoStudyError: they do not exist.
        """
        experiment = client.get_experiment_by_name(config.study)
        run = None if experiment is None else _find(client, experiment.experiment_id)
        if experiment is None or run is None:
            raise NoStudyError(f"MLflow has no run of study {config.study!r}; launch it again to write it")
        return experiment.experiment_id, run

    def end(self, status: str, report: dict[str, Any], description: str, folder: Path) -> None:
        """Writes the study's results and ends its run.

        Args:
            status: FINISHED, KILLED (it can be resumed) or FAILED.
            report: the content of report.json.
            description: the run's description, in Markdown.
            folder: the report's folder, which is logged as an artifact.
        """
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in averages(report).items()]
        self._client.log_batch(self.id, metrics=metrics)
        # Newcomers do not see that MLflow shows artifacts, so the description says where the report is.
        note = f"{description.rstrip()}\n\nThe whole report: tab *Artifacts*, `report/report.html`.\n"
        self._client.set_tag(self.id, "mlflow.note.content", note)
        self._client.log_inputs(self.id, list(_datasets(self._config, report)))
        self._client.log_artifacts(self.id, str(folder), "report")
        self._client.set_terminated(self.id, status)


def averages(report: dict[str, Any]) -> dict[str, float]:
    """Each method's best validation score, parameters, and means over its finalist's seeds with the test interval."""
    found: dict[str, float | None] = {}
    for method in report["methods"]:
        name = method["method"]
        found[f"{name}_best_validation"] = method["best_validation"]
        for cost in ("deployed_parameters", "backbone_share"):
            found[f"{name}_{cost}"] = method[cost]
        for finalist in method["finalists"]:
            test = finalist["test"]
            if finalist["chosen"] and test is not None:
                found[f"{name}_validation_mean"] = finalist["validation"]["mean"]
                found |= {
                    f"{name}_test_{label}": test[key]
                    for label, key in (("mean", "mean"), ("ci_low", "ci_low"), ("ci_high", "ci_high"))
                }
    return {name: float(value) for name, value in found.items() if value is not None}


def _datasets(config: StudyConfig, report: dict[str, Any]) -> Iterator[DatasetInput]:
    """Yields a data set per task and split, from the hashes and row counts in the report; loads no data."""
    hashes = report["provenance"].get("data", {})
    rows = {task["name"]: task for task in report["tasks"]}
    for task in config.tasks:
        source = task.data.model_dump(mode="json", exclude_none=True)
        for split, digest in hashes.get(task.name, {}).items():
            # MLflow keeps only 36 characters of a digest, so the whole sha256 is in the profile.
            profile = {"sha256": digest, "rows": rows[task.name].get(split)}
            dataset = Dataset(
                name=f"{task.name} {split}",
                digest=digest[:36],
                source_type="promptfront",
                source=json.dumps(source),
                profile=json.dumps(profile),
            )
            yield DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, _CONTEXTS.get(split, split))])


def _find(client: MlflowClient, experiment: str) -> str | None:
    """The id of the study's run, or None."""
    found = client.search_runs([experiment], f"tags.`{_KIND}` = 'study'", max_results=1)
    return found[0].info.run_id if found else None


def _params(config: StudyConfig) -> dict[str, Any]:
    return {
        "model": config.model.name_or_path,
        "tasks": ", ".join(task.name for task in config.tasks),
        "methods": ", ".join(config.methods),
        "trials_per_method": config.search.trials_per_method,
        "seed": config.seed,
    }


def _experiment(client: MlflowClient, config: StudyConfig, address: str) -> str:
    found = client.get_experiment_by_name(config.study)
    if found is None:
        created: str = client.create_experiment(
            config.study,
            artifact_location=mlflow_store.artifacts(config, address),
            tags={_EXPERIMENT_KIND: "custom_model_development"},
        )
        return created
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    experiment_id: str = found.experiment_id
    return experiment_id
