"""A trained method out of its checkpoint, as a folder for use (`methods/saved.py`)."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState

from methods import saved
from search import checkpoint, finalists, model_files
from search.config import StudyConfig
from search.errors import NoStudyError, StudyFileError
from search.study import Assignment, Key, Study
from search.trial import Job, build, load


def export(config: StudyConfig, method: str | None, out: Path | None) -> Path:
    """Writes the best trained run of a method.

    Args:
        config: of a study that exists.
        method: which method; None if the study has no verdict yet, which is refused.
        out: folder to write; None is outputs/<study>/export/<method>.

    Returns:
        The folder.

    Raises:
        StudyFileError: the method is not in the study.
        NoStudyError: the study, or a trained run of it, is not there.
    """
    if method is None:
        raise NoStudyError(f"study {config.study!r} names no method yet; say which by --method")
    if method not in config.methods:
        raise StudyFileError(f"--method must be one of {', '.join(config.methods)}, not {method!r}")
    study = Study(config, must_exist=True)
    key = _trained(study, method)
    facts = study.trial(key).user_attrs
    job = Job.of(config, Assignment(key, facts["config"], facts["seed"]))
    resources = load(job.study)
    trial = build(job, config, resources)
    if not checkpoint.restore(trial, Path(job.folder)):
        raise NoStudyError(f"{job.folder} holds no readable checkpoint of {key}; train it again")
    folder = out or config.folder / "export" / method
    form = trial.method.deployed(trial.backbone)
    content = saved.Saved(
        method=method,
        config=facts["config"],
        form=type(form).__module__.rpartition(".")[2],
        form_config=form.config.to_dict(),
        tasks=tuple(saved.SavedTask(task.name, task.kind, task.labels) for task in resources.tasks),
        model=model_files.locate(config.model),
        model_sha256=resources.backbone.fingerprint(),
        max_length=config.model.max_length,
    )
    saved.save(folder, content, form, trial.heads)
    return folder


def _trained(study: Study, method: str) -> Key:
    """The chosen finalist's run with the best validation score; before there is one, the search's best trial."""
    number = finalists.choose(study, method)
    runs = finalists.runs(study, method)[number] if number is not None else study.of(method, "search")
    done = [run for run in runs if run.state == TrialState.COMPLETE]
    if not done:
        raise NoStudyError(f"no trial of {method} in study {study.config.study!r} is complete yet")
    best = max(done, key=lambda run: run.values[0])
    return Key(method, "search" if number is None else "finalists", best.number)
