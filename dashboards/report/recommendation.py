"""The recommendation in words, as a study file, and as code."""

from __future__ import annotations

import json
from typing import Any

import yaml

from dashboards.findings import words
from dashboards.findings.contest import Contest
from dashboards.findings.verdict import Verdict, against, others_named, precision, span
from dashboards.rows import Rows, Scalar

Report = dict[str, Any]

WEIGHT = "loss_weight."
SHOWN = 4
"""So many hyperparameters are named in the sentence."""


def sentence(found: Contest, verdict: Verdict) -> str:
    """The first line: what to use, and how sure that is."""
    said = _pick(found, verdict)
    if not verdict.provisional:
        return said
    more = len(verdict.provisional) - 1
    others = f" (and {words.count(more, 'other reason')})" if more else ""
    begin = said.partition(" ")[0]  # else a name, which stays as it is
    said = said[0].lower() + said[1:] if begin in ("Use", "No", "None") else said
    return f"Provisional, because {verdict.provisional[0]}{others}: {said}"


def headline(verdict: Verdict) -> str:
    """The decision in a word or two; empty where nothing was tested."""
    said = "" if verdict.decision == "none" else verdict.decision
    return f"{said}, provisional" if said and verdict.provisional else said


def _pick(found: Contest, verdict: Verdict) -> str:
    if verdict.method is None:
        return verdict.reason
    values = _values(found.rows, verdict.method, verdict.config or {})
    if verdict.decision == "best":
        return f"Use {verdict.method}{values}: {_better(found)}."
    if len(found.contenders) == 1:
        return f"Use {verdict.method}{values}. {verdict.reason}"
    low, high = span(found)
    scored = f"{low} to {high}" if low != high else f"all score {low}"
    said = f"No method is clearly the best: {scored}. Take {verdict.method}{values}"
    if found.cheapest:
        said += ", the cheapest"
    elif verdict.method == verdict.leader:
        said += ", which scores highest"
    else:
        said += ", the cheapest within a standard error of the highest"
    if verdict.may_lose and verdict.may_lose["at_most"] is not None:
        at_most = words.score(max(verdict.may_lose["at_most"], 0.0), precision(found))
        said += f"; it loses at most {at_most} to {verdict.may_lose['against']} (95 %)"
    return f"{said}."


def _better(found: Contest) -> str:
    """Than whom the best method is better, and by how much."""
    leader = found.leader.method
    others = [each.method for each in found.contenders if each.method != leader]
    rows = [row for other in others if (row := against(found, leader, other))]
    nearest = min(rows, key=lambda row: row["difference"])
    gap = words.score(nearest["difference"], words.error_of(nearest))
    p_value = words.p_value(max(row["p_value"] for row in rows))
    by = f" by {gap} ({p_value})" if len(rows) == 1 else f" ({p_value}), the nearest by {gap}"
    return f"better than {others_named(found)}{by}"


def evidence(found: Contest, verdict: Verdict, report: Report) -> str | None:
    """The recommended method's score and price, and what the claim holds over."""
    if verdict.method is None or verdict.score is None:
        return None
    score, metric = verdict.score, report["objective"]["metric"]
    error = words.error_of(score)
    mean, raw = score["mean"], score["raw"]
    assert mean is not None
    assert raw is not None
    text = f"Test {metric} {words.score(mean, error)}"
    if (interval := words.interval(score)) is not None:
        text += f" (95 % interval {interval})"
        if words.score(mean, error) != words.score(raw, error):
            text += f", corrected for having been picked; {words.score(raw, error)} as measured"
    method = next(m for m in report["methods"] if m["method"] == verdict.method)
    if method["deployed_parameters"] is not None:
        text += f". It deploys {method['deployed_parameters']:,} parameters"
        text += f" and heads of {method['head_parameters']:,}" if method["head_parameters"] else ""
        text += f", {_percent(method['backbone_share'])} of the model"
    more = scope(found, verdict, report)
    return f"{text}. {more}" if more else f"{text}."


def scope(found: Contest, verdict: Verdict, report: Report) -> str:
    """How often the pick would be made again, and what was not searched."""
    said = []
    if verdict.stability is not None:
        said.append(f"The same method is picked in {100 * verdict.stability:.0f} % of resampled searches.")
    if found.joint.search is None:
        said.append(f"Compared are single configurations, as tuned here{_budget(report)}.")
    return " ".join(said)


def _budget(report: Report) -> str:
    budgets = {method["trials"] for method in report["methods"] if method["state"] == "compared"}
    if len(budgets) != 1:
        return ""
    (count,) = budgets
    return f", with {words.count(count, 'trial')} each"


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


def _values(rows: Rows, name: str, config: dict[str, Scalar]) -> str:
    """The searched hyperparameters with their values, in brackets."""
    space = next(method["space"] for method in rows["methods"] if method["method"] == name)
    found = [f"{key} {_short(config[key])}" for key in space if key in config]
    more = [f"{len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return f" ({', '.join(found[:SHOWN] + more)})" if found else ""


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
