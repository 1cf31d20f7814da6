"""From the report to text that people read: report.html, report.md and MLflow's run description.

Templates hold the layout, this file what they need: formats, and `not measured` for what is missing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboards.figures import charts, front_chart, slices, svg
from dashboards.rows import Rows

Report = dict[str, Any]

NOT_MEASURED = "not measured"


def html(report: Report, rows: Rows) -> str:
    """report.html; the rows hold what is drawn and is not in the report: learning curves, and the scales of ranges."""
    page = _environment(autoescape=True).get_template("report.html.j2")
    trials, methods = rows["trials"], report["methods"]
    drawn = front_chart.charts(report)
    chosen_ones = [(method["method"], chosen(method)) for method in methods]
    return page.render(
        report=report,
        verdict=report["verdict"],
        winner=_recommended(report),
        marks={method["method"]: svg.legend_mark(i) for i, method in enumerate(methods)},
        probes=[(name, found["probe"]) for name, found in chosen_ones if found and found["probe"]],
        pareto=drawn,
        unprobed=[entry["axis"] for entry in report["fronts"] if entry["axis"] not in dict(drawn)],
        progress=[charts.incumbent(report, trials, hours) for hours in (True, False)]
        + [charts.expected(report)],
        more=[method["method"] for method in methods if method["more_trials"]],
        judged=sum(method["more_trials"] is not None for method in methods),
        rungs=[(method["method"], rung) for method in methods for rung in method["rungs"]],
        slices={
            method["method"]: slices.slices(report, method, trials, index)
            for index, method in enumerate(rows["methods"])
        },
        curves=charts.learning_curves(report, trials),
        measured=any(trial.get("step_seconds") or trial.get("peak_memory_bytes") for trial in trials),
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


def comparison(content: Report, template: str) -> str:
    """comparison.html or comparison.md, by the name of its template."""
    return _environment(autoescape=".html" in template).get_template(template).render(content=content)


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
        figure=figure, hours=hours, size=size,
    )  # fmt: skip
    return found


def score(number: float | None, digits: int = 3) -> str:
    """A score with three decimals."""
    return NOT_MEASURED if number is None else f"{number:.{digits}f}"


def signed(number: float | None) -> str:
    """A difference of scores with its sign; a true minus, as tables want it."""
    if number is None:
        return NOT_MEASURED
    return "0.000" if abs(number) < 5e-4 else f"{number:+.3f}".replace("-", "\u2212")


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


def hours(number: float | None) -> str:
    """Seconds as hours."""
    return NOT_MEASURED if number is None else f"{number / 3600:.2f}"


def size(number: float | None) -> str:
    """Bytes, as kB, MB or GB."""
    if number is None:
        return NOT_MEASURED
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(
        (f"{number / factor:.3g} {unit}" for factor, unit in units if number >= factor), f"{number:.0f} B"
    )


def figure(number: float | None, measure: str) -> str:
    """A figure by the name of what it measures: seconds, bytes, parameters, scores."""
    if number is None:
        return NOT_MEASURED
    if measure.endswith("bytes"):
        return size(number)
    if measure.endswith("seconds"):
        return f"{1000 * number:.3g} ms" if number < 1 else seconds(number)
    if measure.endswith("parameters"):
        return f"{number:,}"
    return f"{number:.3g}" if measure.endswith("per_second") else score(number)


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
