"""Runs studies and exports models, for the command line and for notebooks.

It may import every other part, and does so only where it needs it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from search.errors import PromptfrontError, StorageError
from search.terminal import Terminal

if TYPE_CHECKING:
    import pandas as pd

    from search.config.study_config import StudyConfig
    from search.driver.launch import Launched, Outcome
    from search.export.folder import Exported


@dataclass(frozen=True)
class Results:
    """The results of a study.

    Attributes:
        outcome: how the launch ended.
        verdict: the verdict of report.json (docs/report.md): decision, reason, method, config, ...
        trials: one row per search trial; the configuration in columns `config.NAME`, task scores in `score.TASK`.
        finalists: one row per retrained run; the configuration in columns `config.NAME`.
        folder: the study's folder, with the report and all other files.
        report: the content of report.json.
        warnings: what could not be written; the next launch writes it.
    """

    outcome: Outcome
    verdict: dict[str, Any]
    trials: pd.DataFrame
    finalists: pd.DataFrame
    folder: Path
    report: dict[str, Any]
    warnings: list[str]


def run(config: StudyConfig | dict[str, Any] | Path | str, console: Console | None = None) -> Results:
    """Runs a study or continues it, as `promptfront launch` does.

    Args:
        config: path of a study file, its content as a dict, or a `StudyConfig`. Paths in a dict are relative to the
            current directory.
        console: where progress is shown; None makes a new console.

    Raises:
        PromptfrontError: see the classes in search/errors.py.
        ClusterError: Ray cannot be reached.
    """
    from search.config import study_file
    from search.config.study_config import StudyConfig

    if isinstance(config, dict):
        parsed = study_file.parse(config)
    else:
        parsed = config if isinstance(config, StudyConfig) else study_file.load(Path(config))
    launched, report, warnings = launch(parsed, console or Terminal())
    return Results(
        outcome=launched.outcome,
        verdict=report["verdict"],
        trials=_table(launched.rows["trials"]),
        finalists=_table(
            [
                {**{k: v for k, v in each.items() if k != "runs"}, **retrained, "from": each["number"]}
                for each in launched.rows["finalists"]
                for retrained in each["runs"]
            ]
        ),
        folder=parsed.folder,
        report=report,
        warnings=warnings,
    )


def launch(config: StudyConfig, console: Console) -> tuple[Launched, dict[str, Any], list[str]]:
    """Runs a study, writes its report, and logs the recommended method as an MLflow model.

    Returns:
        How the launch ended, the content of report.json, and warnings about what could not be written.
    """
    from dashboards.findings import more_seeds
    from dashboards.report import report as dashboard
    from search.driver import launch

    writer = launch.Writer(
        write=dashboard.write, description=dashboard.leaderboard_markdown, undecided=more_seeds.undecided
    )
    launched = launch.launch(config, console, writer)
    report = launched.report
    warnings = list(launched.unwritten)
    if not launched.rows["partial"] and report["verdict"]["method"] and not warnings:
        try:
            log_model(config, export(config, report, None, None), None)
        except (PromptfrontError, OSError, ValueError, RuntimeError) as error:
            # All results of the study are already written, so this is only a warning.
            again = "" if isinstance(error, StorageError) else " (promptfront export shows why)"
            warnings.append(f"the recommended method could not be logged as an MLflow model: {error}{again}")
    return launched, report, warnings


def export(config: StudyConfig, report: dict[str, Any], method: str | None, out: Path | None) -> Exported:
    """Exports a trained method to a folder with a model card; `method=None` takes the recommended one."""
    from dashboards.report import page
    from search.export.folder import export as write

    exported = write(config, method or report["verdict"]["method"], out)
    card = page.card(report, asdict(exported), str(exported.folder))
    (exported.folder / "README.md").write_text(card, encoding="utf-8")
    return exported


def log_model(config: StudyConfig, exported: Exported, register: str | None) -> str:
    """Logs an exported method as an MLflow model and returns its URI; see `search/tracking/logged_model.py`."""
    from search.tracking import logged_model

    return logged_model.log(config, exported, register)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Result rows as a table: nested values get columns of their own, curves are left out."""
    import pandas as pd

    prefixes = {
        "config": "config",
        "task_scores": "score",
        "test_task_scores": "test_score",
    }
    flat = []
    for row in rows:
        line = {name: value for name, value in row.items() if not isinstance(value, dict | list)}
        for name, prefix in prefixes.items():
            line |= {f"{prefix}.{key}": value for key, value in (row.get(name) or {}).items()}
        flat.append(line)
    return pd.DataFrame(flat)
