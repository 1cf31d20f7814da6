"""The command line. Heavy libraries are imported by the commands that need them, so `--help` is instant."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli import commands
from search.cli.commands import OUTPUTS, SUBMITTED, console
from search.errors import NoStudyError, PromptfrontError
from search.terminal import Terminal

if TYPE_CHECKING:
    from search.config.study_config import StudyConfig
    from search.driver.launch import Launched

app = typer.Typer(
    help="Find the prompt-tuning method to use for a frozen model and your tasks, and what it costs.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or study file, 3 every trial failed, 4 budget used up (partial "
    "report), 5 storage or cluster unreachable, 130 interrupted (launch again to continue).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the study file for this call."),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster to run on: auto, host:port, or http://host:8265 for Ray Jobs."),
]


def main() -> None:
    """Runs the command line and exits with its code."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # like Ctrl-C, until a launch sets its own handler
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = getattr(error, "exit_code", 1 if _of_a_named_path(error) else None)
        if code is None:
            raise
        Terminal(stderr=True).print(
            f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True, highlight=False
        )
        sys.exit(code)


def _of_a_named_path(error: Exception) -> bool:
    """Whether the system refused a file or folder that the command line names."""
    path = error.filename if isinstance(error, OSError) else None
    return isinstance(path, str) and any(
        word.startswith(path) or path.startswith(word) for word in sys.argv[1:] if word not in ("", ".")
    )


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
    kind: Annotated[str, typer.Option(help="Kind of task.")] = "sequence_classification",
) -> None:
    """Write a commented study file to start from."""
    from search.config.kinds import KINDS
    from search.config.template import template
    from search.errors import did_you_mean

    if kind not in KINDS:
        raise PromptfrontError(
            f"--kind must be one of {', '.join(KINDS)}, not {kind!r}{did_you_mean(kind, KINDS)}"
        )

    if path.exists():
        raise PromptfrontError(f"{path} already exists; give another name, or remove it")
    path.write_text(template(path.stem, kind), encoding="utf-8")
    console.print(f"Wrote {path}. Edit it, then: promptfront check {path}", highlight=False)


@app.command(epilog="Example: promptfront check examples/quickstart.yaml --set search.trials_per_method=20")
def check(study: StudyFile, set_: Overrides = None, address: Address = None) -> None:
    """Check a study file against its model and data, and show the plan."""
    config, overrides = _load(study, set_, address)
    if config.cluster.jobs:
        from search.cli import remote

        remote.check(study, overrides, config, console)
        return
    from search.cli import plan_table
    from search.plan import check
    from search.study.study import Study

    plan = check.check(config, test=True)
    with contextlib.suppress(NoStudyError):
        Study(config, must_exist=True)  # refuses settings other than those it was begun with
    plan_table.render(plan, console)


@app.command(epilog="Example: promptfront launch examples/quickstart.yaml --set search.trials_per_method=20")
def launch(study: StudyFile, set_: Overrides = None, address: Address = None) -> None:
    """Run a study, or continue it."""
    from search.driver import supervisor

    if not supervisor.supervised():
        raise typer.Exit(supervisor.run(sys.argv[1:], console))
    supervisor.die_with_supervisor()
    config, overrides = _load(study, set_, address)
    record = OUTPUTS / config.study / SUBMITTED
    if config.cluster.jobs:
        from search.cli import remote

        remote.launch(study, overrides, config, record, console)
        return
    record.unlink(missing_ok=True)  # from now on the study runs on this machine
    from search import api

    launched, report, warnings = api.launch(config, console)
    for warning in warnings:
        console.print(
            f"[yellow]warning:[/] {_escape(warning)}. Launch again to write what is missing.", soft_wrap=True
        )
    _tell(config, launched, report, study)


def _load(study: Path, set_: list[str] | None, address: str | None) -> tuple[StudyConfig, list[str]]:
    """The study and its overrides. If RAY_ADDRESS names Ray Jobs, it replaces an unset cluster.address."""
    from search.config import study_file

    overrides = [*(set_ or ()), *([f"cluster.address={address}"] if address else [])]
    config = study_file.load(study, overrides)
    instead = os.environ.get("RAY_ADDRESS", "")
    if config.cluster.address is None and instead.startswith(("http://", "https://")):
        overrides.append(f"cluster.address={instead}")
        config = study_file.load(study, overrides)
    return config, overrides


def _tell(config: StudyConfig, launched: Launched, report: dict[str, Any], study: Path) -> None:
    """Prints how the launch ended, and exits with its code."""
    from search.driver.launch import Outcome

    again = f"promptfront launch {study}"
    codes = {Outcome.INTERRUPTED: 130, Outcome.BUDGET_ENDED: 4, Outcome.NOTHING_FEASIBLE: 3}
    match launched.outcome:
        case Outcome.NOTHING_TO_DO:
            console.print(f"Nothing to do: study {config.study!r} is finished.", highlight=False)
        case Outcome.INTERRUPTED:
            console.print(
                f"Interrupted; nothing is lost. To continue: {again}", soft_wrap=True, highlight=False
            )
        case Outcome.BUDGET_ENDED:
            limits = ("max_trials", "max_hours", "max_gpu_hours")
            given = [f"search.{name}" for name in limits if getattr(config.search, name) is not None]
            console.print(
                f"{' or '.join(given)} is used up. Raise the limit and launch again to continue.",
                highlight=False,
            )
        case Outcome.NOTHING_FEASIBLE:
            errors = sorted(
                {(t["error"] or "").strip().splitlines()[0] for t in launched.rows["trials"] if t["error"]}
            )
            console.print("Every trial failed:\n  " + "\n  ".join(errors[:5]), markup=False, highlight=False)
    console.print()
    commands.tell(report["verdict"], config.folder / "report")
    commands.tell_next(config, report["verdict"])
    if code := codes.get(launched.outcome):
        raise typer.Exit(code)


@app.command(epilog="Example: promptfront doctor")
def doctor(output_dir: commands.OutputDir = OUTPUTS) -> None:
    """Show what a maintainer would ask for: versions, memory, disk, Ray, stores, ports, and what is odd."""
    from search.plan import doctor

    for name, text in doctor.report(output_dir):
        console.print(f"{name:12} {text}", soft_wrap=True, highlight=False, markup=False)


@app.command(epilog="Example: promptfront methods")
def methods() -> None:
    """List the methods with their hyperparameters and ranges."""
    from search.cli.methods_table import render

    render(console)


@app.command(epilog="Example: promptfront cluster local --out cluster.sh")
def cluster(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="Kind of cluster; without it, all kinds are listed.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a value of the template.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; without it, the values are listed.")
    ] = None,
) -> None:
    """Write a file that starts a Ray cluster: a script, or input for `ray up`, kubectl or sbatch."""
    from clusters import render

    kinds = [kind] if kind else list(render.KINDS)
    if kind is None or out is None:
        for name in kinds:
            console.print(f"{render.title(name)}\n{render.describe(name)}", highlight=False, markup=False)
        return
    if out.exists():
        raise PromptfrontError(f"{out} already exists; give another name, or remove it")
    values = dict(pair.partition("=")[::2] for pair in set_ or ())
    out.write_text(render.render(kind, values, out.name), encoding="utf-8")
    console.print(f"Wrote {out}. Its first lines say how to use it.", highlight=False)


app.add_typer(commands.app)
