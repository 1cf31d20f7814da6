"""From the report to text that people read: report.html, report.md and MLflow's run description.

Templates hold the layout, this file what they need: formats, and `not measured` for what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboards import charts, svg
from dashboards.rows import Trial

Report = dict[str, Any]

NOT_MEASURED = "not measured"


def html(report: Report, trials: Sequence[Trial]) -> str:
    """report.html; `trials` are the result rows' (their curves are drawn, and are not in the report)."""
    page = _environment(autoescape=True).get_template("report.html.j2")
    return page.render(
        report=report,
        verdict=report["verdict"],
        winner=_recommended(report),
        marks={method["method"]: svg.legend_mark(i) for i, method in enumerate(report["methods"])},
        pareto=charts.pareto(report),
        incumbent=charts.incumbent(report, trials),
        curves=charts.learning_curves(report, trials),
        params=list(dict.fromkeys(name for trial in report["trials"] for name in trial["params"])),
    )


def markdown(report: Report) -> str:
    """report.md: the same findings for a terminal or a pull request."""
    page = _environment(autoescape=False).get_template("report.md.j2")
    return page.render(report=report, verdict=report["verdict"], winner=_recommended(report))


def leaderboard(report: Report) -> str:
    """The verdict, a table of the methods, the winning snippet."""
    page = _environment(autoescape=False).get_template("leaderboard.md.j2")
    return page.render(report=report, verdict=report["verdict"])


def card(report: Report, exported: dict[str, Any], folder: str) -> str:
    """The model card of an exported method.

    Args:
        report: of its study.
        exported: what was written: method, config, trial, seed, validation, counts, and by task why peft has no form
            of it, or None where it has.
        folder: as the reader would name it.
    """
    (method,) = (entry for entry in report["methods"] if entry["method"] == exported["method"])
    page = _environment(autoescape=False).get_template("card.md.j2")
    config = yaml.safe_dump(exported["config"], sort_keys=False, allow_unicode=True)
    return page.render(
        report=report,
        exported=exported,
        folder=folder,
        title=method["title"],
        finalist=chosen(method),
        config=config,
    )


def _recommended(report: Report) -> dict[str, Any] | None:
    """The recommended method's entry and its chosen finalist."""
    for method in report["methods"]:
        if method["method"] == report["verdict"]["method"]:
            return {**method, "finalist": next(f for f in method["finalists"] if f["chosen"])}
    return None


def _environment(autoescape: bool) -> Environment:
    """The templates; a name that does not exist is an error, not an empty word."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        score=score, signed=signed, count=count, share=share, seconds=seconds, p=p_value, interval=interval,
        value=value, line=line, chosen=chosen,
    )  # fmt: skip
    return found


def score(number: float | None, digits: int = 3) -> str:
    """A score with three decimals."""
    return NOT_MEASURED if number is None else f"{number:.{digits}f}"


def signed(number: float | None) -> str:
    """A difference of scores with its sign; a true minus, as tables want it."""
    return NOT_MEASURED if number is None else f"{number:+.3f}".replace("-", "\u2212")


def interval(low_high: dict[str, Any], sign: bool = False) -> str:
    """`ci_low` to `ci_high`."""
    low, high = low_high["ci_low"], low_high["ci_high"]
    if low is None or high is None:
        return NOT_MEASURED
    return f"{signed(low)} to {signed(high)}" if sign else f"{low:.3f} to {high:.3f}"


def count(number: int | None) -> str:
    """12,345."""
    return NOT_MEASURED if number is None else f"{number:,}"


def share(number: float | None) -> str:
    """A percentage with two significant digits."""
    if number is None:
        return NOT_MEASURED
    percent = 100 * number
    if percent == 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(abs(percent))))
    return f"{percent:.{min(digits, 6)}f} %"


def seconds(number: float | None) -> str:
    """Seconds, minutes or hours."""
    if number is None:
        return NOT_MEASURED
    if number < 120:
        return f"{number:.1f} s"
    return f"{number / 60:.1f} min" if number < 7200 else f"{number / 3600:.1f} h"


def p_value(number: float | None) -> str:
    """A p value; tiny ones as a bound."""
    if number is None:
        return NOT_MEASURED
    return "< 0.001" if number < 0.001 else f"{number:.3f}"


def value(item: Any) -> str:
    """A hyperparameter or a fact: floats with four digits, lists joined."""
    if item is None:
        return NOT_MEASURED
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return f"{item:.4g}"
    if isinstance(item, (list, tuple)):
        return ", ".join(value(part) for part in item) or "none"
    if isinstance(item, dict):
        return ", ".join(f"{key}: {value(part)}" for key, part in item.items()) or "none"
    return str(item)


def line(text: Any) -> str:
    """Text that stays inside a Markdown table cell."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def chosen(method: dict[str, Any]) -> dict[str, Any] | None:
    """The finalist of a method that was tested, else None."""
    return next((finalist for finalist in method["finalists"] if finalist["chosen"]), None)
