"""Studies on a cluster through Ray Jobs: submitted from this machine, run and kept on the cluster.

Relative paths in the study file name files on this machine. These files travel with the job and are kept in
`output_dir/<study>/inputs` on the cluster, so that every launch sees the same study. Absolute paths name files on the
cluster. This machine keeps only `submitted.yaml`; it asks the cluster for everything else.
"""

from __future__ import annotations

import os
import shlex
import sys
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
    """Gives this machine's files a path on the cluster, and collects them for the job.

    Attributes:
        files: the files by their path in the job's working directory.
    """

    def __init__(self, folder: str) -> None:
        self.files: dict[str, Path | str] = {}
        self._folder = folder

    def __call__(self, folder: Path, path: str) -> str:
        """The cluster's path for a path that the study file in `folder` names.

        Raises:
            StudyFileError: this machine has no such file.
        """
        if "://" in path or Path(path).is_absolute():
            return path
        source = (folder / Path(path).expanduser()).resolve()
        if not source.exists():
            raise StudyFileError(
                f"there is no file {source} to send with the job; give files on the cluster by their absolute path"
            )
        name = source.name
        while self.files.get(f"inputs/{name}", source) != source:
            name = f"_{name}"  # another file of the same name
        self.files[f"inputs/{name}"] = source
        return f"{self._folder}/{name}"


def check(path: Path, overrides: Sequence[str], config: StudyConfig, console: Console) -> None:
    """Checks a study on the cluster, against the model and data there."""
    inputs = Inputs("inputs")
    sent = _for_the_cluster(study_file.load(path, overrides, inputs))
    files: dict[str, Path | str] = {**inputs.files, "study.yaml": study_file.dump(sent)}
    with packed(files) as folder:
        _show(*_jobs(config).run(f"{_PROGRAM} check study.yaml", folder), console)


def launch(path: Path, overrides: Sequence[str], config: StudyConfig, record: Path, console: Console) -> None:
    """Submits a study, or submits it again to continue it; does not wait for it.

    Args:
        path, overrides: the study file and the changes to it.
        config: the study that they describe.
        record: the file in which this machine keeps the study, to find it again.
        console: where messages are printed.
    """
    jobs = _jobs(config)
    last = jobs.latest(_key(config))
    if last is not None and not last.ended:
        console.print(f"The study is already running, as job {last.id}.", highlight=False)
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
        console.print(f"Submitted as job {id}; it runs without this machine.", highlight=False)
    for command, what in (
        ("status", "show its progress"),
        ("logs --follow", "follow its output"),
        ("stop", "stop it cleanly"),
        ("report", "fetch its report"),
    ):
        name, _, option = command.partition(" ")
        line = f"  promptfront {name} {config.study}{' ' + option if option else ''}"
        console.print(f"{line:<46} {what}", highlight=False, soft_wrap=True)


def status(config: StudyConfig, console: Console) -> None:
    """Shows the study's last job and the study's progress."""
    job = _jobs(config).latest(_key(config))
    state = f"job {job.id}: {job.state}" if job else "no job (the cluster was restarted)"
    console.print(f"{config.cluster.jobs}: {state}", highlight=False, soft_wrap=True)
    _show(*_run(config, f"{_PROGRAM} status {_file(config)}"), console)


def logs(config: StudyConfig, follow: bool, console: Console) -> None:
    """Shows the output of the study's last job; with `follow`, until the job ends."""
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
    console.print(f"job {job.id} ended: {job.state}. Launch again to continue.", highlight=False)


def report(config: StudyConfig, out: Path, console: Console) -> None:
    """Rebuilds the report on the cluster and fetches it."""
    _bring(config, f"{_PROGRAM} report {_file(config)}", config.folder / "report", out, console)


def export(config: StudyConfig, method: str | None, out: Path, console: Console) -> None:
    """Exports a trained method on the cluster and fetches it."""
    there = config.folder / "export" / (method or "verdict")
    command = f"{_PROGRAM} export {_file(config)} --out {shlex.quote(str(there))}"
    command += f" --method {shlex.quote(method)}" if method else ""
    _bring(config, command, there, out, console)


def fetch_runs(config: StudyConfig, out: Path, console: Console) -> StudyConfig:
    """The study with an MLflow store that this machine can reach: its server or database, or a copy of its file."""
    here = config.model_copy(update={"output_dir": out.absolute().parent})  # the UI keeps its password there
    url = config.tracking.mlflow_uri or f"sqlite:///{config.output_dir / 'mlflow.db'}"
    if not url.startswith("sqlite:"):
        return here
    there = Path(url.removeprefix("sqlite:///"))
    _bring(config, "true", there, out, console)
    console.print("The UI shows a copy of the runs as they are now.", highlight=False)
    tracking = config.tracking.model_copy(update={"mlflow_uri": f"sqlite:///{out.absolute() / there.name}"})
    return here.model_copy(update={"tracking": tracking})


def _bring(config: StudyConfig, command: str, there: Path, here: Path, console: Console) -> None:
    """Runs a command on the cluster and copies what it left in `there` to `here`."""
    command = f"{command} && python -m clusters.parcel {shlex.quote(str(there))}"
    code, printed = _run(config, command)
    text, content = parcel.split(printed)
    _show(code, text.replace(str(there), str(here)), console)
    if content is None:
        raise PromptfrontError(f"the cluster did not send {there}: {text}")
    parcel.unpack(content, here)


def _run(config: StudyConfig, command: str) -> tuple[int, str]:
    with packed({}) as folder:
        return _jobs(config).run(command, folder)


def _show(code: int, printed: str, console: Console) -> None:
    """Prints the output of a command on the cluster; if it failed, exits with its code."""
    stream = sys.stderr if code else console.file
    stream.write(printed)
    if code:
        raise typer.Exit(code)


def _jobs(config: StudyConfig) -> Jobs:
    assert config.cluster.jobs is not None
    return Jobs(config.cluster.jobs)


def _latest(config: StudyConfig) -> Job:
    job = _jobs(config).latest(_key(config))
    if job is None:
        raise NoStudyError(
            f"{config.cluster.jobs} has no job of study {config.study!r}. A restarted cluster forgets its jobs but keeps "
            "the study: launch again to continue"
        )
    return job


def _key(config: StudyConfig) -> str:
    return str(config.folder)


def _file(config: StudyConfig) -> str:
    return shlex.quote(str(config.folder / "config.yaml"))


def _for_the_cluster(config: StudyConfig) -> StudyConfig:
    """The study as the driver on the cluster runs it."""
    tracking = config.tracking
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if tracking.mlflow_uri is None and server.startswith(("http://", "https://")):
        tracking = tracking.model_copy(update={"mlflow_uri": server})
    cluster = config.cluster.model_copy(update={"address": "auto"})
    return config.model_copy(update={"cluster": cluster, "tracking": tracking})
