"""The recommendation in words, as a study file, and as code."""

from __future__ import annotations

import json
from typing import Any

import yaml

from dashboards.findings import words
from dashboards.rows import Rows, Scalar, chosen

Report = dict[str, Any]

REFERENCES = ("lora", "full")
"""The usual alternatives to prompts: the sentence compares with them."""

WEIGHT = "loss_weight."
SHOWN = 4
"""So many hyperparameters are named in the sentence."""


def sentence(rows: Rows, report: Report) -> str:
    """What to use, how good it is, and what it costs."""
    verdict = report["verdict"]
    method = next((m for m in report["methods"] if m["method"] == verdict["method"]), None)
    if method is None:
        return str(verdict["reason"])
    finalist = chosen(method["finalists"])
    assert finalist is not None, "only a tested method is recommended"
    against = {row["against"]: row for row in verdict["comparisons"] if row["method"] == verdict["method"]}
    costs = {m["method"]: m["deployed_parameters"] for m in report["methods"]}
    rival = _rival(verdict, against, costs)
    said = f"Use {method['method']}{_values(rows, method['method'], finalist['config'])}"
    said += f"{_doubt(verdict, rival)} {_measured(report, method, finalist['test'])}"
    for name in dict.fromkeys((*REFERENCES, *([rival] if rival else []))):
        if name in against:
            words_ = words.scores(against[name], turned=True)
            said += f"; {name} {words_}{_price(costs[name], method['deployed_parameters'])}"
    return said + "."


def _doubt(verdict: dict[str, Any], rival: str | None) -> str:
    """What is not shown, where the recommended method is not the best."""
    if verdict["decision"] == "best":
        return "."
    if rival is not None:
        return f"; it is not shown to be better than the cheaper {rival}."
    return "; it is not shown to be the best." if verdict["comparisons"] else "; no other method was tested."


def _measured(report: Report, method: dict[str, Any], test: dict[str, Any]) -> str:
    """The test score and the size of the recommended method."""
    text = f"Test {report['objective']['metric']} {test['mean']:.3f}"
    if test["ci_low"] is not None:
        text += f" (95 % interval {test['ci_low']:.3f} to {test['ci_high']:.3f})"
    if method["deployed_parameters"] is not None:
        text += f" with {method['deployed_parameters']:,} deployed parameters, {_percent(method['backbone_share'])} of the model"
    return text


def snippet(report: Report) -> str | None:
    """The recommended configuration as sections of a study file."""
    verdict = report["verdict"]
    if verdict["method"] is None:
        return None
    mine, weights = _split(verdict["config"] or {})
    tasks = [{"name": name, "loss_weight": value} for name, value in weights.items()]
    section = {**({"tasks": tasks} if tasks else {}), "methods": {verdict["method"]: mine}}
    return _yaml(section)


def study_file(report: Report) -> str | None:
    """A whole study file that reproduces the recommended configuration.

    It has one method, every value fixed, and a single trial. None where there is no recommendation, or the rows lack the study's own file.
    """
    verdict = report["verdict"]
    content = _content(report["provenance"].get("study_file"))
    if verdict["method"] is None or content is None:
        return None
    mine, weights = _split(verdict["config"] or {})
    suffix = f"-{verdict['method']}"
    content["study"] = str(content.get("study", report["study"]))[: 80 - len(suffix)] + suffix
    content["methods"] = {verdict["method"]: mine}
    tasks = content.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        if isinstance(task, dict) and task.get("name") in weights:
            task["loss_weight"] = weights[task["name"]]
    content["search"] = {**(content.get("search") or {}), "trials_per_method": 1, "early_stopping": False}
    content["finalists"] = {**(content.get("finalists") or {}), "default": False}
    return _yaml(content)


def load_snippet(report: Report) -> str | None:
    """Python that loads the exported folder and asks it something."""
    verdict = report["verdict"]
    if verdict["method"] is None:
        return None
    tasks = report["tasks"]
    lines = [
        f"# promptfront export {report['study']} --method {verdict['method']} --out my_model",
        "import methods",
        "",
        'model = methods.load("my_model")',
    ]
    lines = [" ".join(line.splitlines()) for line in lines]
    for task in tasks:
        name = f", task={json.dumps(task['name'])}" if len(tasks) > 1 else ""
        lines.append(f"print(model.predict({_request(task)}{name}))")
    return "\n".join(lines) + "\n"


def _request(task: dict[str, Any]) -> str:
    """What the predictor is asked, as Python: a list of one text, or of one tuple of texts."""
    given = list((task.get("request") or {"text": "Some text"}).values())
    return repr([given[0] if len(given) == 1 else tuple(given)])


def _rival(
    verdict: dict[str, Any], against: dict[str, dict[str, Any]], costs: dict[str, float | None]
) -> str | None:
    """The cheapest method that the recommended one does not beat. None if it is the best."""
    own = costs[verdict["method"]]
    cheaper = {
        name: cost
        for name, row in against.items()
        if (cost := costs.get(name)) is not None and own is not None and cost < own and row["tie"]
    }
    if verdict["decision"] == "best" or not cheaper:
        return None
    return min(cheaper, key=lambda name: cheaper[name])


def _values(rows: Rows, name: str, config: dict[str, Scalar]) -> str:
    """The searched hyperparameters with their values, in brackets."""
    space = next(method["space"] for method in rows["methods"] if method["method"] == name)
    found = [f"{key} {_short(config[key])}" for key in space if key in config]
    more = [f"{len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return f" ({', '.join(found[:SHOWN] + more)})" if found else ""


def _price(cost: float | None, own: float | None) -> str:
    """The parameters of another method beside those of the recommended one."""
    if cost is None:
        return ""
    ratio = cost / own if own else 0.0
    return f" with {ratio:,.0f} times the parameters" if ratio >= 1.5 else f" with {cost:,} parameters"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _split(config: dict[str, Scalar]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """The method's own values, and the loss weight of each task."""
    mine = {name: value for name, value in config.items() if not name.startswith(WEIGHT)}
    weights = {name.removeprefix(WEIGHT): value for name, value in config.items() if name.startswith(WEIGHT)}
    return mine, weights


def _content(text: Any) -> dict[str, Any] | None:
    """The study file as a mapping; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return content if isinstance(content, dict) else None


def _yaml(content: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text
