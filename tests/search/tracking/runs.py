"""Trials without training, the report of them, and the runs that MLflow has of them."""

from __future__ import annotations

from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from search.config.places import mlflow_uri
from search.config.study_config import StudyConfig
from search.study.records import Key
from search.study.study import Assignment, Study

SHA256 = {"train": "a" * 64, "validation": "b" * 64}
REPORT: dict[str, Any] = {
    "methods": [
        {
            "method": "prompt_tuning",
            "best_validation": 0.8,
            "deployed_parameters": 10,
            "backbone_share": 0.01,
            "finalists": [
                {"chosen": False, "test": None, "validation": {"mean": 0.7}},
                {
                    "chosen": True,
                    "test": {"mean": 0.75, "ci_low": 0.7, "ci_high": 0.8},
                    "validation": {"mean": 0.78},
                },
            ],
        },
        {
            "method": "head_only",
            "best_validation": None,
            "deployed_parameters": None,
            "backbone_share": None,
            "finalists": [],
        },
    ],
    "tasks": [{"name": "topics", "train": 60, "validation": 30}],
    "provenance": {"data": {"topics": SHA256}},
}
"""As much of report.json as MLflow shows."""
COUNTS = {"trained_parameters": 20, "deployed_parameters": 10, "head_parameters": 5}


def start(study: Study) -> Key:
    assignment = study.next()
    assert isinstance(assignment, Assignment)
    return assignment.key


def evaluate(study: Study, key: Key, step: int, validation: float) -> None:
    study.record_facts(key, **COUNTS)
    study.record_evaluation(
        key,
        step,
        {
            "validation": validation,
            "loss": 1 / step,
            "task_scores": {"topics": validation},
            "metrics": {"topics_f1_a#b": 0.25},
            "seconds": step,
            "checkpoint": None,
        },
    )


def runs(config: StudyConfig) -> dict[str, Run]:
    client = MlflowClient(mlflow_uri(config))
    experiment = client.get_experiment_by_name(config.study)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
