"""The command line. Heavy libraries are imported by the commands that need them, so `--help` is instant."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

from search.errors import NoStudyError, PromptfrontError

if TYPE_CHECKING:
    from dashboards.rows import Rows
    from search.config import StudyConfig
    from search.driver import Launched

app = typer.Typer(
    help="Find which prompt-tuning method to use for a frozen model and given tasks, and what it costs.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 no feasible trial, 4 budget ended with a "
    "partial report, 5 storage or cluster unreachable, 130 interrupted and resumable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or its file.")]
OutputDir = Annotated[Path, typer.Option("--output-dir", help="Where studies are kept.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides a value of the study file.")
]


def main() -> None:
    """Runs the command line, and ends with its exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        Console(stderr=True).print(
            f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True, highlight=False
        )
        sys.exit(code)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _version(asked: bool) -> None:
    if asked:
        print(f"promptfront {importlib.metadata.version('promptfront')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: promptfront init my_study.yaml --kind question_answering")
def init(
    path: StudyFile,
    kind: Annotated[str, typer.Option(help="Kind of the task")] = "sequence_classification",
) -> None:
    """Write a commented study file to start from."""
    from search.init import template
    from search.messages import did_you_mean
    from search.task_config import KINDS

    if kind not in KINDS:
        raise PromptfrontError(
            f"--kind must be one of {', '.join(KINDS)}, not {kind!r}{did_you_mean(kind, KINDS)}"
        )

    if path.exists():
        raise PromptfrontError(f"{path} exists already; give another name, or remove it")
    path.write_text(template(path.stem, kind), encoding="utf-8")
    console.print(f"Wrote {path}. Edit it, then: promptfront check {path}", highlight=False)


@app.command(epilog="Example: promptfront check examples/quickstart.yaml --set search.trials_per_method=20")
def check(study: StudyFile, set_: Overrides = None) -> None:
    """Validate a study file against model and data, and show the plan."""
    from search import plan, study_file

    plan.render(plan.check(study_file.load(study, set_ or ()), test=True), console)


@app.command(epilog="Example: promptfront launch examples/quickstart.yaml --set search.trials_per_method=20")
def launch(
    study: StudyFile,
    set_: Overrides = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to run on: auto, or host:port.")] = None,
) -> None:
    """Run a study, or go on with one that was interrupted."""
    from search import study_file

    overrides = [*(set_ or ()), *([f"cluster.address={address}"] if address else [])]
    config = study_file.load(study, overrides)
    from dashboards import report
    from search import driver

    writer = driver.Writer(write=report.write, description=report.leaderboard_markdown)
    launched = driver.launch(config, console, writer)
    _tell(config, launched, study)


def _tell(config: StudyConfig, launched: Launched, study: Path) -> None:
    """Prints how the launch ended, and exits with its code."""
    from dashboards import report
    from search.driver import Outcome

    for error in launched.unwritten:
        console.print(
            f"[yellow]warning:[/] {_escape(error)}. Launch again to write what is missing.", soft_wrap=True
        )
    page = config.folder / "report" / "report.html"
    verdict = report.build(cast("Rows", launched.rows))["verdict"]
    again = f"promptfront launch {study}"
    codes = {Outcome.INTERRUPTED: 130, Outcome.BUDGET_ENDED: 4, Outcome.NOTHING_FEASIBLE: 3}
    match launched.outcome:
        case Outcome.NOTHING_TO_DO:
            console.print(f"Nothing to do: the study {config.study!r} is finished.", highlight=False)
        case Outcome.INTERRUPTED:
            console.print(f"Interrupted; nothing is lost. To go on: {again}", soft_wrap=True, highlight=False)
        case Outcome.BUDGET_ENDED:
            console.print(
                "search.max_hours is used up. To go on, raise it and launch again.", highlight=False
            )
        case Outcome.NOTHING_FEASIBLE:
            errors = sorted(
                {(t["error"] or "").strip().splitlines()[0] for t in launched.rows["trials"] if t["error"]}
            )
            console.print("Every trial failed:\n  " + "\n  ".join(errors[:5]), markup=False, highlight=False)
    console.print(f"\n[bold]Verdict:[/] {_escape(verdict['reason'])}", soft_wrap=True, highlight=False)
    console.print(f"Report:  {page}\nMLflow:  promptfront ui {config.study}", soft_wrap=True, highlight=False)
    if code := codes.get(launched.outcome):
        raise typer.Exit(code)


@app.command(epilog="Example: promptfront status quickstart")
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Name or file; all without.")] = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show how far studies are."""
    names = [study] if study else sorted(path.parent.name for path in output_dir.glob("*/config.yaml"))
    if not names:
        console.print(f"There is no study in {output_dir}. Start one: promptfront launch STUDY.yaml")
        return
    from search.progress import Progress
    from search.study import Study

    for name in names:
        opened = Study(_find(name, output_dir), must_exist=True)
        console.print(Progress(opened, console).table())


@app.command(epilog="Example: promptfront report quickstart --out /some/folder")
def report(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Names of studies, or their files.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; else the study's own.")] = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Write the report anew, of a study in any state; of several, a comparison."""
    configs = [_find(study, output_dir) for study in studies]
    from dashboards import comparison
    from dashboards import report as dashboard
    from search import driver

    rows = [cast("Rows", driver.read_rows(config)) for config in configs]
    if len(rows) > 1:
        folder = out or output_dir / "comparisons" / "_".join(config.study for config in configs)[:150]
        content = comparison.write(rows, folder)
        for found in content["studies"]:
            told = f"[bold]{_escape(found['study'])}:[/] {_escape(found['verdict']['sentence'])}"
            console.print(told, soft_wrap=True, highlight=False)
        for warning in content["warnings"]:
            console.print(f"[yellow]warning:[/] {_escape(warning)}", soft_wrap=True, highlight=False)
        console.print(f"Comparison:  {folder / 'comparison.html'}", soft_wrap=True, highlight=False)
        return
    folder = out or configs[0].folder / "report"
    verdict = dashboard.write(rows[0], folder)["verdict"]
    console.print(f"[bold]Verdict:[/] {_escape(verdict['sentence'])}", soft_wrap=True, highlight=False)
    if verdict["sentence"] != verdict["reason"]:
        console.print(_escape(verdict["reason"]), soft_wrap=True, highlight=False)
    console.print(f"Report:  {folder / 'report.html'}", soft_wrap=True, highlight=False)


@app.command(epilog="Example: promptfront export quickstart --method p_tuning_v2 --out my_model")
def export(
    study: StudyName,
    method: Annotated[
        str | None, typer.Option(help="Method to export; else the one the verdict names.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; else outputs/STUDY/export/METHOD.")
    ] = None,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Write a trained method as a folder that methods.load reads, and plain peft where it has a form of it."""
    config = _find(study, output_dir)
    from dashboards import page
    from dashboards import report as dashboard
    from search import driver
    from search.export import export as write

    content = dashboard.build(cast("Rows", driver.read_rows(config)))
    exported = write(config, method or content["verdict"]["method"], out)
    card = page.card(content, asdict(exported), str(exported.folder))
    (exported.folder / "README.md").write_text(card, encoding="utf-8")
    lines = [f"exported {exported.folder}. In Python:", "", "    import methods"]
    lines += [f"    methods.load({str(exported.folder)!r}).predict(['Some text'])", ""]
    for task, reason in exported.peft.items():
        lines.append(
            f"peft, {task}: " + ("loads it, with the same logits" if reason is None else f"no: {reason}")
        )
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


@app.command(epilog="Example: promptfront ui quickstart --port 5000")
def ui(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Name or file of a study.")] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Open the MLflow UI on the store of a study, on this machine only."""
    from search.ui import serve

    serve(_find(study, output_dir) if study else None, output_dir, port, console)


@app.command(epilog="Example: promptfront methods")
def methods() -> None:
    """List the methods, with their hyperparameters and ranges."""
    from search.catalogue import render

    render(console)


def _find(study: str, output_dir: Path) -> StudyConfig:
    """The configuration of a study given by its name, or by its file.

    Raises:
        NoStudyError: neither is there.
    """
    from search import study_file

    for path in (output_dir / study / "config.yaml", Path(study)):
        if path.is_file():
            return study_file.load(path)
    there = ", ".join(sorted(path.parent.name for path in output_dir.glob("*/config.yaml"))) or "none"
    raise NoStudyError(f"no study {study!r} in {output_dir} (there: {there}), and no such file")
