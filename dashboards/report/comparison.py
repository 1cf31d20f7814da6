"""Several studies side by side, and whether their scores compare at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dashboards.report import page
from dashboards.report.files import write_json, write_text
from dashboards.report.formats import flags
from dashboards.report.report import build
from dashboards.rows import Rows, chosen

Report = dict[str, Any]

VERDICT = ("decision", "headline", "method", "could_be_best", "provisional", "sentence", "reason")
"""What is kept of each study's verdict."""


def compare(studies: Sequence[Rows]) -> dict[str, Any]:
    """The content of comparison.json, from the rows of two or more studies.

    Returns:
        `studies` (name, verdict, outcome), `facts` (what is compared, the value of each study, whether all are equal; an
        unknown value equals nothing), `leaderboard` (per method a result of each study, None where it has none), and
        `warnings` in words.
    """
    if len(studies) < 2:
        raise ValueError(f"a comparison needs two studies or more, not {len(studies)}")
    reports = [build(rows) for rows in studies]
    facts = [
        {"fact": name, "values": values, "same": None not in values and all(v == values[0] for v in values)}
        for name, values in _facts(reports).items()
    ]
    names = dict.fromkeys(method["method"] for report in reports for method in report["methods"])
    return {
        "studies": [
            {
                **{key: report[key] for key in ("study", "partial", "outcome", "trivial")},
                "verdict": {key: report["verdict"][key] for key in VERDICT},
            }
            for report in reports
        ],
        "facts": facts,
        "leaderboard": [
            {"method": name, "results": [_result(report, name) for report in reports]} for name in names
        ],
        "warnings": _warnings(reports, facts),
    }


def write(studies: Sequence[Rows], folder: Path) -> dict[str, Any]:
    """Writes comparison.json, comparison.html and comparison.md, each at once or not at all."""
    content = compare(studies)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "comparison.json", content)
    write_text(folder / "comparison.md", page.comparison(content, "comparison.md.j2"))
    write_text(folder / "comparison.html", page.comparison(content, "comparison.html.j2"))
    return content


def _facts(reports: Sequence[Report]) -> dict[str, list[Any]]:
    """What a difference of scores may come from, by study. None where it is not known."""
    facts: dict[str, list[Any]] = {
        "model": [report["backbone"]["name"] for report in reports],
        "model sha256": [(report["provenance"].get("model") or {}).get("sha256") for report in reports],
        "tasks": [[task["name"] for task in report["tasks"]] for report in reports],
        "metric": [report["objective"]["metric"] for report in reports],
    }
    for task in dict.fromkeys(task["name"] for report in reports for task in report["tasks"]):
        for split in ("train", "validation", "test"):
            facts[f"{split} split of {task}"] = [_hash(report, task, split) for report in reports]
    return facts | {
        "seed": [report["provenance"].get("seed") for report in reports],
        "epsilon": [report["epsilon"] for report in reports],
        "trials per method": [_budget(report) for report in reports],
        "commit": [report["provenance"].get("commit") for report in reports],
    }


def _hash(report: Report, task: str, split: str) -> str | None:
    data = report["provenance"].get("data") or {}
    found: str | None = (data.get(task) or {}).get(split)
    return found


def _budget(report: Report) -> int | None:
    return max((method["budget"] for method in report["methods"]), default=None)


def _result(report: Report, name: str) -> dict[str, Any] | None:
    """A method's result in a study. `test` is None where no finalist was tested."""
    method = next((m for m in report["methods"] if m["method"] == name), None)
    if method is None:
        return None
    finalist = chosen(method["finalists"])
    test = finalist["test"] if finalist else None
    return {
        "test": test and {key: test[key] for key in ("mean", "ci_low", "ci_high", "spread")},
        "seeds": len(test["values"]) if test else None,
        "flags": flags(method),
        "best_validation": method["best_validation"],
        "deployed_parameters": method["deployed_parameters"],
        "backbone_share": method["backbone_share"],
        "recommended": report["verdict"]["method"] == name,
    }


def _warnings(reports: Sequence[Report], facts: Sequence[dict[str, Any]]) -> list[str]:
    """Why scores may not compare."""
    found = []
    for fact in facts:
        if fact["same"] or not fact["fact"].startswith("test split of"):
            continue
        if None in fact["values"]:
            found.append(f"The {fact['fact']} is not known in every study: scores may not compare.")
        else:
            found.append(f"The {fact['fact']} differs between the studies: scores do not compare.")
    differing = {fact["fact"] for fact in facts if not fact["same"]}
    if "metric" in differing:
        found.append("The studies have different metrics: their scores do not compare.")
    if "tasks" in differing:
        found.append("The studies have different tasks: means over tasks do not compare.")
    return found
