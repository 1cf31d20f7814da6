"""Commands for launched studies, on this machine or on a cluster through Ray Jobs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from search.errors import NoStudyError
from search.terminal import Terminal

if TYPE_CHECKING:
    from dashboards.rows import Rows
    from search.config.study_config import StudyConfig

app = typer.Typer()
console = Terminal()

OUTPUTS = Path("outputs")
SUBMITTED = "submitted.yaml"
"""File in a study's folder that holds its configuration if it was submitted through Ray Jobs."""

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or its study file.")]
OutputDir = Annotated[Path, typer.Option("--output-dir", help="Folder that holds the studies.")]


@app.command(epilog="Example: promptfront status quickstart")
def status(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]", help="Name of a study, or its study file; without it, all studies."
        ),
    ] = None,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Show the progress of studies."""
    names = [study] if study else _names(output_dir)
    if not names:
        console.print(f"There is no study in {output_dir}. Start one: promptfront launch STUDY.yaml")
        return
    for name in names:
        config = _find(name, output_dir)
        if config.cluster.jobs:
            from search.cli import remote

            remote.status(config, console)
        else:
            from search.driver.progress import Progress
            from search.study.study import Study

            console.print(Progress(Study(config, must_exist=True), console).table())


@app.command(epilog="Example: promptfront logs quickstart --follow")
def logs(
    study: StudyName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the job ends.")] = False,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Show the output of a study submitted through Ray Jobs."""
    from search.cli import remote

    remote.logs(_submitted(study, output_dir), follow, console)


@app.command(epilog="Example: promptfront stop quickstart")
def stop(study: StudyName, output_dir: OutputDir = OUTPUTS) -> None:
    """Stop a study submitted through Ray Jobs; launch it again to continue."""
    from search.cli import remote

    remote.stop(_submitted(study, output_dir), console)


@app.command(epilog="Example: promptfront report quickstart --out /some/folder")
def report(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Names of studies, or their study files.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; default: the study's own folder.")
    ] = None,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Rebuild the report of a study, or compare several."""
    configs = [_find(study, output_dir) for study in studies]
    if remote_ones := [config for config in configs if config.cluster.jobs]:
        from search.cli import remote

        if len(configs) > 1:
            raise NoStudyError(
                "studies on a cluster can only be compared there: run promptfront report STUDY... on one of its nodes"
            )
        (config,) = remote_ones
        remote.report(config, out or output_dir / config.study / "report", console)
        return
    from dashboards.report import comparison
    from dashboards.report import report as dashboard
    from search.driver import launch

    rows = [cast("Rows", launch.read_rows(config)) for config in configs]
    if len(rows) > 1:
        folder = out or output_dir / "comparisons" / "_".join(config.study for config in configs)[:150]
        content = comparison.write(rows, folder)
        for found in content["studies"]:
            told = f"[bold]{escape(found['study'])}:[/] {escape(found['verdict']['sentence'])}"
            told += "".join(f"\n  - {escape(reason)}" for reason in found["verdict"]["provisional"][1:])
            console.print(told, soft_wrap=True, highlight=False)
        for warning in content["warnings"]:
            console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True, highlight=False)
        console.print(f"Comparison:  {folder / 'comparison.html'}", soft_wrap=True, highlight=False)
        return
    folder = out or configs[0].folder / "report"
    verdict = dashboard.write(rows[0], folder)["verdict"]
    tell(verdict, folder)


def tell(verdict: dict[str, Any], folder: Path) -> None:
    """Prints a report's verdict, what it stands on, what would make it surer, and the path of the report."""
    lines = [f"[bold]Verdict:[/] {escape(verdict['sentence'])}"]
    lines += [f"         - {escape(reason)}" for reason in verdict["provisional"][1:]]
    if verdict["method"] is not None:
        why = " ".join(part for part in (verdict["reason"], verdict["evidence"]) if part)
        lines.append(f"Why:     {escape(why)}")
    for step in verdict["next"]:
        command = f": {escape(step['command'])}" if step["command"] else "."
        lines.append(f"Next:    {escape(step['why'])}{command}")
    lines.append(f"Report:  {escape(str(folder / 'report.html'))}")
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def tell_next(config: StudyConfig, verdict: dict[str, Any]) -> None:
    """Prints the commands to run next."""
    kept = "" if config.output_dir == OUTPUTS else f" --output-dir {shlex.quote(str(config.output_dir))}"
    lines = [f"Browse:  promptfront ui {config.study}{kept}"]
    if verdict["method"] is not None:
        lines.append(f"Use it:  promptfront export {config.study}{kept} --out my_model")
    console.print("\n".join(lines), markup=False, soft_wrap=True, highlight=False)


@app.command(epilog="Example: promptfront export quickstart --method p_tuning_v2 --out my_model")
def export(
    study: StudyName,
    method: Annotated[
        str | None, typer.Option(help="Method to export; default: the recommended one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default: outputs/STUDY/export/METHOD.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Register the model in MLflow's model registry.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name to register it under; default: the study's.")
    ] = None,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Export a trained method to a folder for methods.load, and for plain peft where possible."""
    config = _find(study, output_dir)
    if config.cluster.jobs:
        from search.cli import remote

        if register or name:
            raise NoStudyError(
                "a model on a cluster can only be registered there: run promptfront export on one of its nodes"
            )
        here = out or output_dir / config.study / "export" / (method or "verdict")
        remote.export(config, method, here, console)
        return
    from dashboards.report import report as dashboard
    from search import api
    from search.driver import launch

    content = dashboard.build(cast("Rows", launch.read_rows(config)))
    exported = api.export(config, content, method, out)
    lines = [f"Exported {exported.method} to {exported.folder}. In Python:", "", "    import methods"]
    lines += [f"    methods.load({str(exported.folder)!r}).predict(['Some text'])", ""]
    for task, reason in exported.peft.items():
        lines.append(
            f"Task {task}: plain peft loads it, with the same logits."
            if reason is None
            else f"Task {task}: not loadable in plain peft: {reason}. In Python use methods.load."
        )
    if register or name:
        lines += ["", *_registered(config, api.log_model(config, exported, name or config.study))]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _registered(config: StudyConfig, uri: str) -> list[str]:
    """Lines that say how to serve a registered model."""
    from search.config import places
    from search.config.places import without_passwords

    store = without_passwords(places.mlflow_uri(config))
    serve = f"MLFLOW_TRACKING_URI={store} mlflow models serve --model-uri {uri} --env-manager local"
    return ["Registered in MLflow. To serve it on this machine:", "", f"    {serve}"]


@app.command(epilog="Example: promptfront ui quickstart --port 5000")
def ui(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Name of a study, or its study file.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Browse the runs in MLflow (your browser, this machine only)."""
    from search.tracking.ui import serve

    config = _find(study, output_dir) if study else None
    if config and config.cluster.jobs:
        from search.cli import remote

        config = remote.fetch_runs(config, output_dir / config.study, console)
    serve(config, output_dir, port, console)


def _names(output_dir: Path) -> list[str]:
    """Names of the studies that were launched from here, or that ran here."""
    files = ("config.yaml", SUBMITTED)
    return sorted({path.parent.name for file in files for path in output_dir.glob(f"*/{file}")})


def _submitted(study: str, output_dir: Path) -> StudyConfig:
    """The configuration of a study that runs through Ray Jobs.

    Raises:
        NoStudyError: it does not.
    """
    config = _find(study, output_dir)
    if not config.cluster.jobs:
        raise NoStudyError(
            f"study {config.study!r} was not submitted through Ray Jobs: see the terminal that launched it, and stop it "
            "with Ctrl-C or SIGTERM"
        )
    return config


def _find(study: str, output_dir: Path) -> StudyConfig:
    """The configuration of a study, found by its name or by its study file.

    Raises:
        NoStudyError: there is no such study and no such file.
    """
    from search.config import study_file

    folder = output_dir / study
    for path in (folder / SUBMITTED, folder / "config.yaml", Path(study)):
        if path.is_file():
            return study_file.load(path)
    there = ", ".join(_names(output_dir)) or "none"
    raise NoStudyError(
        f"there is no study {study!r} in {output_dir} (studies there: {there}), and no such file"
    )
