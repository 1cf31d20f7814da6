"""A study on a cluster that is reached through Ray Jobs: submitted from here, run and kept there.

Paths of the study file that are relative are this machine's: those files travel with the job, and are kept in
`output_dir/<study>/inputs` of the cluster, so that the study is the same one each time. Absolute ones are the
cluster's. What has to be known here stands in `submitted.yaml`; everything else is asked for.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from clusters import parcel
from clusters.jobs import Job, Jobs, packed
from search.config import study_file
from search.config.study_config import StudyConfig
from search.errors import NoStudyError, PromptfrontError, StudyFileError

_PROGRAM = "python -m search.cli"


class Inputs:
    """Gives files of this machine a place in the cluster, and remembers which they are.

    Attributes:
        files: by their path in the job's working directory.
    """

    def __init__(self, folder: str) -> None:
        self.files: dict[str, Path | str] = {}
        self._folder = folder

    def __call__(self, folder: Path, path: str) -> str:
        """The place of a path of the study file in `folder`.

        Raises:
            StudyFileError: there is no such file here.
        """
        if "://" in path or Path(path).is_absolute():
            return path
        source = (folder / Path(path).expanduser()).resolve()
        if not source.exists():
            raise StudyFileError(
                f"no file {source} to send with the job; name files that the cluster has by their absolute path"
            )
        name = source.name
        while self.files.get(f"inputs/{name}", source) != source:
            name = f"_{name}"  # another file of the same name
        self.files[f"inputs/{name}"] = source
        return f"{self._folder}/{name}"


def check(path: Path, overrides: Sequence[str], config: StudyConfig, console: Console) -> None:
    """Checks a study against the model and the data of the cluster, there."""
    inputs = Inputs("inputs")
    sent = _for_the_cluster(study_file.load(path, overrides, inputs))
    files: dict[str, Path | str] = {**inputs.files, "study.yaml": study_file.dump(sent)}
    with packed(files) as folder:
        _show(*_jobs(config).run(f"{_PROGRAM} check study.yaml", folder), console)


def launch(path: Path, overrides: Sequence[str], config: StudyConfig, record: Path, console: Console) -> None:
    """Submits a study, or submits it again to go on with it; returns while it runs.

    Args:
        path, overrides: of the study file.
        config: what they say.
        record: file in which this machine keeps the study, to find it again.
        console: to tell what happened.
    """
    jobs = _jobs(config)
    last = jobs.latest(_key(config))
    if last is not None and not last.ended:
        console.print(f"It runs already, as job {last.id}.", highlight=False)
    else:
        kept = config.folder / "inputs"
        inputs = Inputs(str(kept))
        sent = _for_the_cluster(study_file.load(path, overrides, inputs))
        command = f"exec {_PROGRAM} launch study.yaml"
        if inputs.files:
            target = shlex.quote(str(kept))
            command = f"mkdir -p {target} && cp -R inputs/. {target} && {command}"
        files: dict[str, Path | str] = {**inputs.files, "study.yaml": study_file.dump(sent)}
        with packed(files) as folder:
            id = jobs.submit(_key(config), config.study, command, folder)
        record.parent.mkdir(parents=True, exist_ok=True)
        kept_here = sent.model_copy(update={"cluster": config.cluster})
        record.write_text(study_file.dump(kept_here), encoding="utf-8")
        console.print(f"Submitted as job {id}; it goes on without this machine.", highlight=False)
    for command, what in (
        ("status", "how far it is"),
        ("logs --follow", "what it prints"),
        ("stop", "a clean stop"),
        ("report", "the report, brought here"),
    ):
        name, _, option = command.partition(" ")
        line = f"  promptfront {name} {config.study}{' ' + option if option else ''}"
        console.print(f"{line:<46} {what}", highlight=False, soft_wrap=True)


def status(config: StudyConfig, console: Console) -> None:
    """Shows the study's last job, and how far the study is."""
    job = _jobs(config).latest(_key(config))
    state = f"job {job.id}: {job.state}" if job else "no job (the cluster was started anew)"
    console.print(f"{config.cluster.jobs}: {state}", highlight=False, soft_wrap=True)
    _show(*_run(config, f"{_PROGRAM} status {_file(config)}"), console)


def logs(config: StudyConfig, follow: bool, console: Console) -> None:
    """Shows what the study's last job has printed, and with `follow` what it prints until it ends."""
    jobs, job = _jobs(config), _latest(config)
    if not follow:
        _show(0, jobs.logs(job.id), console)
        return
    job = jobs.follow(job.id, lambda lines: console.file.write(lines))
    console.print(f"job {job.id} ended: {job.state}", highlight=False, soft_wrap=True)


def stop(config: StudyConfig, console: Console) -> None:
    """Stops the study's job cleanly, as Ctrl-C stops a launch."""
    jobs, job = _jobs(config), _latest(config)
    if not job.ended:
        console.print(f"Stopping job {job.id} ...", highlight=False)
        job = jobs.stop(job.id)
    console.print(f"job {job.id} ended: {job.state}. To go on, launch again.", highlight=False)


def report(config: StudyConfig, out: Path, console: Console) -> None:
    """Writes the report anew, there, and brings it here."""
    _bring(config, f"{_PROGRAM} report {_file(config)}", config.folder / "report", out, console)


def export(config: StudyConfig, method: str | None, out: Path, console: Console) -> None:
    """Exports a trained method, there, and brings it here."""
    there = config.folder / "export" / (method or "verdict")
    command = f"{_PROGRAM} export {_file(config)} --out {shlex.quote(str(there))}"
    command += f" --method {shlex.quote(method)}" if method else ""
    _bring(config, command, there, out, console)


def fetch_runs(config: StudyConfig, out: Path, console: Console) -> StudyConfig:
    """The study with an MLflow store that this machine reaches: its server or database, else a copy of its file."""
    here = config.model_copy(update={"output_dir": out.absolute().parent})  # for the password of the UI
    url = config.tracking.mlflow_uri or f"sqlite:///{config.output_dir / 'mlflow.db'}"
    if not url.startswith("sqlite:"):
        return here
    there = Path(url.removeprefix("sqlite:///"))
    _bring(config, "true", there, out, console)
    console.print("This is a copy of the runs as they are now.", highlight=False)
    tracking = config.tracking.model_copy(update={"mlflow_uri": f"sqlite:///{out.absolute() / there.name}"})
    return here.model_copy(update={"tracking": tracking})


def _bring(config: StudyConfig, command: str, there: Path, here: Path, console: Console) -> None:
    """Runs a command on the cluster and brings what it left in `there`."""
    command = f"{command} && python -m clusters.parcel {shlex.quote(str(there))}"
    code, printed = _run(config, command)
    text, content = parcel.split(printed)
    _show(code, text.replace(str(there), str(here)), console)
    if content is None:
        raise PromptfrontError(f"the cluster sent nothing of {there}: {text}")
    parcel.unpack(content, here)


def _run(config: StudyConfig, command: str) -> tuple[int, str]:
    with packed({}) as folder:
        return _jobs(config).run(command, folder)


def _show(code: int, printed: str, console: Console) -> None:
    """Prints what a command printed there, and ends with its exit code if it failed."""
    stream = Console(stderr=True, soft_wrap=True) if code else console
    stream.file.write(printed)
    if code:
        raise typer.Exit(code)


def _jobs(config: StudyConfig) -> Jobs:
    assert config.cluster.jobs is not None
    return Jobs(config.cluster.jobs)


def _latest(config: StudyConfig) -> Job:
    job = _jobs(config).latest(_key(config))
    if job is None:
        raise NoStudyError(
            f"no job of study {config.study!r} on {config.cluster.jobs}; a cluster that was started anew has forgotten "
            "its jobs, but not the study: launch again to go on"
        )
    return job


def _key(config: StudyConfig) -> str:
    return str(config.folder)


def _file(config: StudyConfig) -> str:
    return shlex.quote(str(config.folder / "config.yaml"))


def _for_the_cluster(config: StudyConfig) -> StudyConfig:
    """The study as its driver there runs it."""
    tracking = config.tracking
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if tracking.mlflow_uri is None and server.startswith(("http://", "https://")):
        tracking = tracking.model_copy(update={"mlflow_uri": server})
    cluster = config.cluster.model_copy(update={"address": "auto"})
    return config.model_copy(update={"cluster": cluster, "tracking": tracking})
