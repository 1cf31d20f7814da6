"""A study that is loaded and run without training: each trial is ended with a score that the test gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from search.config import study_file
from search.config.study_config import StudyConfig
from search.study import finalists
from search.study.study import Assignment, Study
from tests.search.conftest import write_study


def load(content: dict[str, Any], folder: Path, **search: Any) -> StudyConfig:
    return study_file.load(write_study({**content, "search": {**content["search"], **search}}, folder))


def end(
    study: Study, assignment: Assignment, validation: float | None, deployed: int = 10, **measured: float
) -> None:
    """Ends a trial as its worker would have it: complete with a score, or failed; `measured` is what its evaluation has beside."""
    if validation is None:
        study.tell(assignment.key, TrialState.FAIL, error="diverged")
        return
    evaluation = {
        "validation": validation,
        "loss": 1.0,
        "task_scores": {},
        "metrics": {},
        "seconds": 1.0,
        "checkpoint": None,
        **measured,
    }
    study.record_evaluation(assignment.key, 6, evaluation)
    study.tell(assignment.key, TrialState.COMPLETE, validation, deployed_parameters=deployed)


def run(study: Study, score: Any) -> list[Assignment]:
    """Runs the study to its end, one trial at a time; `score` gives (validation, deployed) of an assignment."""
    done = []
    while not isinstance(assignment := study.next(), str):
        end(study, assignment, *score(assignment))
        done.append(assignment)
    assert assignment == "done"
    return done


def by_rate(assignment: Assignment) -> tuple[float, int]:
    rate = float(assignment.config["learning_rate"])
    return 1 / (1 + rate), int(assignment.config.get("num_virtual_tokens", 0))


def scored(study: Study) -> None:
    """Gives every run that is to be scored on test a score."""
    for key in finalists.untested(study):
        reading = {"test": 0.5, "task_scores": {"topics": 0.5}, "metrics": {"topics": {}}, "sha256": {}}
        study.record_trial_fact(key, finalists.TEST, reading)
