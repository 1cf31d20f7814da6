"""Exports a trained method from its checkpoint, in our format (`methods/saved/`) and where possible in peft's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from methods import registry
from methods.heads.heads import Head
from methods.method import Method
from methods.saved import folder as saved
from search.config.study_config import StudyConfig
from search.errors import NoStudyError, StudyFileError
from search.export import peft_folder
from search.export.peft_folder import NotForPeftError
from search.storage.trials import TrialState
from search.study import finalists, race
from search.study.records import Key
from search.study.study import Assignment, Study, best_trial
from search.training import checkpoint, model_files
from search.training.checkpoint_folder import CheckpointFolder
from search.training.trial import Trial
from search.training.worker import Resources, build, load

_COMPARED = 16
"""How many validation rows are used to compare peft's logits with ours."""


@dataclass(frozen=True)
class Exported:
    """An exported method.

    Attributes:
        folder: the folder that was written.
        method, config, trial, seed, validation: the trained run that was exported.
        trained_parameters, deployed_parameters, head_parameters: the counts of the report.
        file_parameters: number of scalars in `method.safetensors`, heads included.
        peft: by task, why plain peft cannot load it; None if files for peft were written and checked.
        peft_parameters: by task, number of scalars in `adapter_model.safetensors`.
    """

    folder: Path
    method: str
    config: dict[str, Any]
    trial: str
    seed: int
    validation: float
    trained_parameters: int
    deployed_parameters: int
    head_parameters: int
    file_parameters: int
    peft: dict[str, str | None]
    peft_parameters: dict[str, int]


def export(config: StudyConfig, method: str | None, out: Path | None) -> Exported:
    """Exports the best trained run of a method.

    Args:
        config: an existing study.
        method: the method's name; None (no method is recommended yet) is refused.
        out: the folder to write; None takes outputs/<study>/export/<method>.

    Raises:
        StudyFileError: the study does not have the method.
        NoStudyError: the study does not exist, recommends no method yet, or has no trained run of the method.
        CheckpointFolderError: the checkpoints cannot be read.
    """
    if method is None:
        raise NoStudyError(f"study {config.study!r} recommends no method yet; choose one with --method")
    if method not in config.methods:
        raise StudyFileError(f"--method must be one of {', '.join(config.methods)}, not {method!r}")
    study = Study(config, must_exist=True)
    key = _trained(study, method)
    facts = study.trial(key).user_attrs
    job = Assignment.of(key, facts).job(config)
    resources = load(job.study)
    trial = build(job, resources)
    if not checkpoint.restore(trial, CheckpointFolder(job.folder)):
        raise NoStudyError(f"{job.folder} has no readable checkpoint of {key}; train it again")
    folder = out or config.folder / "export" / method
    form = trial.method.deployed(trial.backbone).eval()
    content = saved.Saved(
        method=method,
        config=facts["config"],
        form=registry.name_of(type(form).__module__),
        form_config=form.config.to_dict(),
        tasks=tuple(task.saved for task in resources.tasks),
        model=model_files.locate(config.model),
        model_sha256=resources.backbone.fingerprint(),
        max_length=config.model.max_length,
        dtype=config.model.dtype,
    )
    saved.save(folder, content, form, trial.heads)
    places = {
        task.name: folder if len(resources.tasks) == 1 else folder / task.name for task in resources.tasks
    }
    reasons = _write_peft(places, content.model, config.model.name_or_path, trial, form, resources)
    return Exported(
        folder=folder,
        method=method,
        config=facts["config"],
        trial=str(key),
        seed=facts["seed"],
        validation=study.trial(key).values[0],
        trained_parameters=facts["trained_parameters"],
        deployed_parameters=facts["deployed_parameters"],
        head_parameters=facts["head_parameters"],
        file_parameters=_count(folder / "method.safetensors"),
        peft=reasons,
        peft_parameters={
            name: _count(places[name] / "adapter_model.safetensors")
            for name, why in reasons.items()
            if why is None
        },
    )


def _write_peft(
    places: dict[str, Path], path: str, name: str, trial: Trial, form: Method, resources: Resources
) -> dict[str, str | None]:
    """Writes each task's folder for peft; returns by task why that is not possible, or None."""
    reasons: dict[str, str | None] = {}
    for index, task in enumerate(resources.tasks):
        head = trial.heads[index]
        assert isinstance(head, Head)
        try:
            peft_folder.write(
                places[task.name],
                path=path,
                name=name,
                backbone=resources.backbone,
                form=form,
                head=head,
                task=index,
                answer=task.answer,
                labels=task.labels,
                texts=[row.input_ids for row in task.splits["validation"].rows[:_COMPARED]],
            )
            reasons[task.name] = None
        except NotForPeftError as error:
            reasons[task.name] = str(error)
    return reasons


def _count(path: Path) -> int:
    """The number of scalars in a safetensors file."""
    total = 0
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            size = 1
            for length in file.get_slice(name).get_shape():
                size *= length
            total += size
    return total


def _trained(study: Study, method: str) -> Key:
    """The chosen finalist's run with the best validation score; without a finalist, the search's best trial."""
    number = race.choose(study, method)
    if number is None:
        best = best_trial(study, method)
    else:
        done = [run for run in finalists.runs(study, method)[number] if run.state == TrialState.COMPLETE]
        best = max(done, key=lambda run: run.values[0], default=None)
    if best is None:
        raise NoStudyError(f"no trial of {method} in study {study.config.study!r} is complete yet")
    return Key(method, "search" if number is None else "finalists", best.number)
