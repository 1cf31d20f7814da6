"""A study from its file to report and model: what the command line and notebooks call. It sees everything, lazily."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from search.errors import PromptfrontError, StorageError

if TYPE_CHECKING:
    import pandas as pd

    from search.config.study_config import StudyConfig
    from search.driver.launch import Launched, Outcome
    from search.export.folder import Exported


@dataclass(frozen=True)
class Results:
    """What a study has found.

    Attributes:
        outcome: how the launch ended.
        verdict: as in report.json (docs/report.md): decision, reason, method, config, ...
        trials: a row per search trial; the configuration in columns `config.NAME`, tasks' scores in `score.TASK`.
        finalists: a row per retrained run; the configuration in columns `config.NAME`.
        folder: with the report and everything else.
        report: the content of report.json.
        warnings: what could not be written, and is made up for by the next launch.
    """

    outcome: Outcome
    verdict: dict[str, Any]
    trials: pd.DataFrame
    finalists: pd.DataFrame
    folder: Path
    report: dict[str, Any]
    warnings: list[str]


def run(config: StudyConfig | dict[str, Any] | Path | str, console: Console | None = None) -> Results:
    """Runs a study, or goes on with it, as `promptfront launch` does.

    Args:
        config: a study file, its content, or a parsed one. Paths in a dict are relative to the current directory.
        console: where progress is shown; None for a console of its own.

    Raises:
        PromptfrontError: of the kinds in search/errors.py.
        ClusterError: Ray cannot be reached.
    """
    from search.config import study_file
    from search.config.study_config import StudyConfig

    if isinstance(config, dict):
        parsed = study_file.parse(config)
    else:
        parsed = config if isinstance(config, StudyConfig) else study_file.load(Path(config))
    launched, report, warnings = launch(parsed, console or Console())
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
        How it went, the content of report.json, and warnings about what could not be written.
    """
    from dashboards.report import report as dashboard
    from search.driver import launch

    writer = launch.Writer(write=dashboard.write, description=dashboard.leaderboard_markdown)
    launched = launch.launch(config, console, writer)
    report = launched.report
    warnings = list(launched.unwritten)
    if not launched.rows["partial"] and report["verdict"]["method"] and not warnings:
        try:
            log_model(config, export(config, report, None, None), None)
        except (PromptfrontError, OSError, ValueError, RuntimeError) as error:
            # The study's results are all written by now.
            again = "" if isinstance(error, StorageError) else " (to see why: promptfront export)"
            warnings.append(f"the recommended method is no MLflow model yet: {error}{again}")
    return launched, report, warnings


def export(config: StudyConfig, report: dict[str, Any], method: str | None, out: Path | None) -> Exported:
    """Writes a trained method as a folder with its model card; None is the verdict's."""
    from dashboards.report import page
    from search.export.folder import export as write

    exported = write(config, method or report["verdict"]["method"], out)
    card = page.card(report, asdict(exported), str(exported.folder))
    (exported.folder / "README.md").write_text(card, encoding="utf-8")
    return exported


def log_model(config: StudyConfig, exported: Exported, register: str | None) -> str:
    """Logs an exported method as an MLflow model, and gives its URI; see `search/tracking/logged_model.py`."""
    from search.tracking import logged_model

    return logged_model.log(config, exported, register)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Result rows as a table: what is nested in columns of its own, curves left out."""
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
