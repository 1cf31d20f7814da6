"""The recommendation in words and files: one sentence, a study file that reproduces it, code that loads it."""

from __future__ import annotations

import json
from typing import Any

import yaml

from dashboards.rows import Rows, Scalar

Report = dict[str, Any]

REFERENCES = ("lora", "full")
"""What a user would pick without prompts; the recommended method is compared with them where the study has them."""

WEIGHT = "loss_weight."
SHOWN = 4
"""Hyperparameters that the sentence names."""

TEXTS = '["Some text"]'
EXAMPLES = {
    "token_classification": '["Some words"]',
    "question_answering": '[("A question?", "The text that answers it.")]',
}
"""What the predictor of a kind of task takes; of the others, texts."""


def sentence(rows: Rows, report: Report) -> str:
    """What to use, how good it is and how sure that is, what it costs, and how LoRA and full fine-tuning compare."""
    verdict = report["verdict"]
    method = next((m for m in report["methods"] if m["method"] == verdict["method"]), None)
    if method is None:
        return str(verdict["reason"])
    finalist = next(f for f in method["finalists"] if f["chosen"])
    test = finalist["test"]
    against = {row["against"]: row for row in verdict["comparisons"] if row["method"] == verdict["method"]}
    costs = {m["method"]: m["deployed_parameters"] for m in report["methods"]}
    rival = _rival(verdict, against, costs)
    words = f"{_opening(verdict, rival)} {method['method']}{_values(rows, method['method'], finalist['config'])}: "
    words += f"test {report['objective']['metric']} {test['mean']:.3f}"
    if test["ci_low"] is not None:
        words += f" (95 % interval {test['ci_low']:.3f} to {test['ci_high']:.3f})"
    if method["deployed_parameters"] is not None:
        words += f", {method['deployed_parameters']:,} deployed parameters, {_percent(method['backbone_share'])} of the model"
    for name in REFERENCES:
        if name == rival:
            continue  # has the last word
        if name in against:
            words += f"; {name} {_compared(against[name], costs[name], method['deployed_parameters'])}"
        elif name in costs and name != verdict["method"]:
            words += f"; {name} not measured"
    if rival is not None:
        words += f"; {rival} {_compared(against[rival], costs[rival], method['deployed_parameters'])}"
        words += f", and is the cheapest that is not shown to be worse (Holm-corrected p = {against[rival]['p_holm']:.2g})"
    return words + "."


def snippet(report: Report) -> str | None:
    """The recommended configuration as sections of a study file, every value fixed; of the tasks their weights alone."""
    verdict = report["verdict"]
    if verdict["method"] is None:
        return None
    mine, weights = _split(verdict["config"] or {})
    tasks = [{"name": name, "loss_weight": value} for name, value in weights.items()]
    section = {**({"tasks": tasks} if tasks else {}), "methods": {verdict["method"]: mine}}
    return _yaml(section)


def study_file(report: Report) -> str | None:
    """The whole study file of the recommended configuration: one method, every value fixed, a single trial.

    None where there is no recommendation, or the rows lack the study's own file.
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
        lines.append(f"print(model.predict({EXAMPLES.get(task['kind'], TEXTS)}{name}))")
    return "\n".join(lines) + "\n"


def _opening(verdict: dict[str, Any], rival: str | None) -> str:
    if verdict["decision"] == "winner":
        return "Use"
    if rival is None:
        return "No difference is shown; the candidate is"
    return f"No difference is shown between {verdict['method']} and the cheaper {rival}; the candidate is"


def _rival(
    verdict: dict[str, Any], against: dict[str, dict[str, Any]], costs: dict[str, float | None]
) -> str | None:
    """Without a winner, the cheapest of the cheaper methods than which the candidate is not shown to be better."""
    own = costs[verdict["method"]]
    cheaper = {
        name: cost
        for name, row in against.items()
        if (cost := costs.get(name)) is not None and own is not None and cost < own and row["tie"]
    }
    if verdict["decision"] == "winner" or not cheaper:
        return None
    return min(cheaper, key=lambda name: cheaper[name])


def _values(rows: Rows, name: str, config: dict[str, Scalar]) -> str:
    """The searched hyperparameters with their values, in brackets."""
    space = next(method["space"] for method in rows["methods"] if method["method"] == name)
    found = [f"{key} {_short(config[key])}" for key in space if key in config]
    more = [f"{len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return f" ({', '.join(found[:SHOWN] + more)})" if found else ""


def _compared(row: dict[str, Any], cost: float | None, own: float | None) -> str:
    """How a reference compares with the recommended method: `row` is the recommended one minus it."""
    gap = -row["difference"]
    words = f"scores {abs(gap):.3f} {'more' if gap > 0 else 'less'}"
    if row["ci_low"] is not None:
        words += f" (95 % interval {-row['ci_high']:+.3f} to {-row['ci_low']:+.3f})"
    if cost and own:
        ratio = cost / own
        words += f" with {ratio:,.0f} times the parameters" if ratio >= 1.5 else f" with {cost:,} parameters"
    elif cost is not None:
        words += f" with {cost:,} parameters"
    return words


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _split(config: dict[str, Scalar]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """The method's own values, and each task's share of the loss."""
    mine = {name: value for name, value in config.items() if not name.startswith(WEIGHT)}
    weights = {name.removeprefix(WEIGHT): value for name, value in config.items() if name.startswith(WEIGHT)}
    return mine, weights


def _content(text: Any) -> dict[str, Any] | None:
    """The study's file as a mapping; None if it is none."""
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
