"""What people read: HTML, Markdown, MLflow's note, the model card.

Templates hold the layout, formats.py writes the numbers, and this file chooses what is shown: a section without content is
left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboards.figures import charts, front_chart, seeds_chart, slices, svg
from dashboards.findings.playbook import MISSING
from dashboards.report.formats import DASH, FILTERS
from dashboards.rows import COSTS, Rows, chosen

Report = dict[str, Any]

TITLES = {
    "verdict": "Verdict",
    "value": "If you value …",
    "pareto": "Pareto front",
    "methods": "Methods",
    "pairs": "Pairs",
    "enough": "Was the search enough?",
    "why": "Why",
    "playbook": "Prompt Tuning Playbook",
    "curves": "Learning curves",
    "failures": "Failures",
    "provenance": "Provenance",
    "trials": "Every trial",
}
"""The sections of report.html in their order, as the navigation names them."""


def html(report: Report, rows: Rows) -> str:
    """report.html; the rows have the learning curves and ranges that it draws."""
    page = _environment(autoescape=True).get_template("report.html.j2")
    trials, methods = rows["trials"], report["methods"]
    shared = _shared(report)
    pareto = front_chart.charts(report)
    drawn = {axis for axis, _, _ in pareto}
    curves = charts.learning_curves(report, trials)
    sliced = {
        method["method"]: slices.slices(report, method, trials, index)
        for index, method in enumerate(rows["methods"])
    }
    explained = [m for m in methods if len(m["path"]) > 1 or m["importances"] or sliced[m["method"]]]
    shown = {
        "value": shared["wishes"] or shared["probes"],
        "pareto": pareto and shared["compared"],
        "methods": trials or rows["finalists"],
        "pairs": report["comparisons"],
        "enough": shared["searched"],
        "why": explained,
        "playbook": any(shared["playbook"].values()),
        "curves": curves,
        "failures": report["failures"],
        "trials": trials,
    }
    return page.render(
        **shared,
        sections={name: title for name, title in TITLES.items() if shown.get(name, True)},
        marks={method["method"]: svg.legend_mark(i) for i, method in enumerate(methods)},
        pareto=pareto,
        strip=seeds_chart.strip(report),
        undrawn=[entry["axis"] for entry in report["fronts"] if entry["axis"] not in drawn],
        progress=[charts.incumbent(report, trials, by_time) for by_time in (True, False)]
        + [charts.expected(report)],
        slices=sliced,
        explained=explained,
        curves=curves,
        costs=[cost for cost in COSTS if any(trial.get(cost) is not None for trial in trials)],
        params=list(dict.fromkeys(name for trial in trials for name in trial["config"])),
    )


def markdown(report: Report) -> str:
    """report.md: the same findings for a terminal or a pull request."""
    return _environment(autoescape=False).get_template("report.md.j2").render(**_shared(report)) + "\n"


def leaderboard(report: Report) -> str:
    """The verdict, a table of the methods, the recommended configuration."""
    page = _environment(autoescape=False).get_template("leaderboard.md.j2")
    return page.render(report=report, verdict=report["verdict"])


def comparison(content: Report, template: str) -> str:
    """comparison.html or comparison.md, by the name of its template."""
    return _environment(autoescape=".html" in template).get_template(template).render(content=content) + "\n"


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
        method=method,
        finalist=chosen(method["finalists"]),
        config=config,
    )


def _shared(report: Report) -> dict[str, Any]:
    """What both the HTML and the Markdown show."""
    methods = report["methods"]
    finalists = [(method["method"], chosen(method["finalists"])) for method in methods]
    judged = [method for method in methods if method["more_trials"] is not None]
    return {
        "report": report,
        "verdict": report["verdict"],
        "recommended": _recommended(report),
        "wishes": _wishes(report),
        "probes": [(name, found["probe"]) for name, found in finalists if found and found["probe"]],
        "tested": [method for method in methods if (found := chosen(method["finalists"])) and found["test"]],
        "compared": len([method for method in methods if method["completed"]]) > 1,
        "searched": any(method["completed"] > 1 for method in methods),
        "judged": len(judged),
        "more": sum(method["more_trials"] for method in judged),
        "checks": [(method["method"], check) for method in methods for check in method["rungs"]],
        "playbook": _playbook(report),
    }


def _wishes(report: Report) -> list[dict[str, Any]]:
    """The wishes that were measured; none where one method answers them all."""
    found = [row for row in report["preferences"] if row["method"] is not None]
    return found if len({row["method"] for row in found}) > 1 else []


def _playbook(report: Report) -> dict[str, list[dict[str, Any]]]:
    """The parts of the playbook's section, each without what was not measured."""
    playbook = report["playbook"]
    return {
        "claims": [row for row in playbook["claims"] if row["answer"] != MISSING],
        "guide": [row for row in playbook["guide"] if row["tasks_good"] is not None],
        "decisions": [row for row in playbook["decisions"] if row["answer"] != MISSING],
    }


def _recommended(report: Report) -> dict[str, Any] | None:
    """The recommended method's entry and its chosen finalist."""
    for method in report["methods"]:
        if method["method"] == report["verdict"]["method"]:
            return {**method, "finalist": chosen(method["finalists"])}
    return None


def _environment(autoescape: bool) -> Environment:
    """The templates. A name that does not exist is an error, not an empty word."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    found.globals["DASH"] = DASH
    return found
