"""The report of a study: its content (`build`) and its files (`write`).

    rows -> build -> report.json, trials.csv
                  -> templates -> report.html (one offline file), report.md

docs/report.md documents report.json field by field.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dashboards.findings import fronts, guides, playbook, preferences
from dashboards.findings.contest import Contest, contest
from dashboards.findings.effort import best_trial, failures, method_effort, search_effort
from dashboards.findings.samples import tested_sample
from dashboards.findings.verdict import comparisons, decide
from dashboards.findings.why import why
from dashboards.report import page, recommendation
from dashboards.report.files import write_json, write_text
from dashboards.report.next_steps import next_steps
from dashboards.rows import COSTS, Finalist, Method, Rows, chosen
from dashboards.statistics.collapse import collapsed
from dashboards.statistics.joint import Joint, mean_interval

SCHEMA_VERSION = 3

_FORMULA = tuple(
    "=+-@\t\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)

Report = dict[str, Any]


def build(rows: Rows) -> Report:
    """The content of report.json: plain values only, NaN and infinity as None."""
    if rows["objective"]["direction"] != "maximize":
        raise ValueError(
            f"the report compares scores that are maximized, not {rows['objective']['direction']!r}"
        )
    found = contest(rows)
    decided = decide(found)
    seeds = _collapsed(found)
    methods = [_method(found, method, seeds) for method in rows["methods"]]
    trials = [{key: value for key, value in trial.items() if key != "curve"} for trial in rows["trials"]]
    by_cost = fronts.fronts(rows, methods)
    report: Report = {
        "schema_version": SCHEMA_VERSION,
        "study": rows["study"],
        "verdict": asdict(decided),
        "comparisons": comparisons(found),
        "methods": methods,
        "trivial": _trivial(rows),
        "pareto_front": [{key: point[key] for key in ("method", "number")} for point in by_cost[0]["front"]],
        "fronts": by_cost,
        "preferences": preferences.preferences(found),
        "playbook": {
            "claims": playbook.claims(found),
            "guide": guides.guide(found),
            "decisions": guides.decisions(found),
        },
        "trials": trials,
        "test_readings": rows["test_readings"],
        "partial": rows["partial"],
        "provenance": _provenance(rows),
        "outcome": rows["outcome"],
        "epsilon": rows["epsilon"],
        "objective": dict(rows["objective"]),
        "backbone": dict(rows["backbone"]),
        "tasks": list(rows["tasks"]),
        "search": search_effort(rows),
        "failures": failures(rows),
    }
    report["verdict"] |= {
        "sentence": recommendation.sentence(found, decided),
        "headline": recommendation.headline(decided),
        "evidence": recommendation.evidence(found, decided, report),
        "scope": recommendation.scope(found, decided, report) if decided.method else None,
        "next": next_steps(found, decided),
        "snippet": recommendation.snippet(report),
        "study_file": recommendation.study_file(report),
        "load": recommendation.load_snippet(report),
    }
    plain: Report = _plain(report)
    return plain


def write(rows: Rows, folder: Path) -> Report:
    """Writes the four files, each at once or not at all."""
    report = build(rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", report)
    write_text(folder / "trials.csv", trials_csv(report))
    write_text(folder / "report.md", page.markdown(report))
    write_text(folder / "report.html", page.html(report, rows))
    return report


def leaderboard_markdown(report: Report) -> str:
    """The verdict and the methods, short enough for an MLflow description."""
    return page.leaderboard(report)


def trials_csv(report: Report) -> str:
    """Every trial as a line. Text cannot become a spreadsheet's formula."""
    fixed = [
        "method", "number", "state", "validation", "trained_parameters", "deployed_parameters", "head_parameters",
        *COSTS, "seed", "started", "ended", "checkpoint", "mlflow_run_id", "error",
    ]  # fmt: skip
    params = list(dict.fromkeys(name for trial in report["trials"] for name in trial["config"]))
    tasks = list(dict.fromkeys(name for trial in report["trials"] for name in trial["task_scores"] or {}))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        [_cell(name) for name in (*fixed, *(f"config.{p}" for p in params), *(f"score.{t}" for t in tasks))]
    )
    for trial in report["trials"]:
        scores = trial["task_scores"] or {}
        values = [*(trial.get(name) for name in fixed), *(trial["config"].get(p) for p in params)]
        table.writerow([_cell(value) for value in (*values, *(scores.get(t) for t in tasks))])
    return out.getvalue()


def _method(found: Contest, method: Method, seeds: dict[str, int]) -> dict[str, Any]:
    """One entry of `methods`: counts, the best trial, the finalists."""
    rows, name = found.rows, method["method"]
    trials = [trial for trial in rows["trials"] if trial["method"] == name]
    best = best_trial(trials)
    entries = [finalist for finalist in rows["finalists"] if finalist["method"] == name]
    counted = chosen(entries) or best
    deployed = counted["deployed_parameters"] if counted else None
    return {
        "method": name,
        "title": method["title"],
        "baseline": method["baseline"],
        "state": found.state(name),
        "gain_over_trivial": _gain(found, name),
        "budget": method["budget"],
        "trials": len(trials),
        "completed": sum(trial["state"] == "COMPLETE" for trial in trials),
        "pruned": sum(trial["state"] == "PRUNED" for trial in trials),
        "failed": sum(trial["state"] == "FAIL" for trial in trials),
        "best_validation": best["validation"] if best else None,
        "trained_parameters": counted["trained_parameters"] if counted else None,
        "deployed_parameters": deployed,
        "head_parameters": counted["head_parameters"] if counted else None,
        "backbone_share": None if deployed is None else deployed / rows["backbone"]["parameters"],
        "failed_runs": sum(run["state"] == "FAIL" for finalist in entries for run in finalist["runs"]),
        "collapsed_seeds": seeds.get(name, 0),
        "task_scores": guides.task_means(rows, name),
        "finalists": [_finalist(found, finalist) for finalist in entries],
        **method_effort(trials, method["space"], rows["epsilon"]),
        **why(rows, method),
    }


def _finalist(found: Contest, finalist: Finalist) -> dict[str, Any]:
    """One entry of `finalists`. Its values are in the order of its seeds."""
    finished = [run for run in finalist["runs"] if run["state"] == "COMPLETE"]
    validation = [run["validation"] for run in finished if run["validation"] is not None]
    mean = sum(validation) / len(validation) if validation else None
    scored = _test(found, finalist)
    test = scored if finalist["chosen"] else None
    return {
        "config": finalist["config"],
        "number": finalist["number"],
        "role": finalist["role"],
        "chosen": finalist["chosen"],
        "seeds": [run["seed"] for run in finished],
        "failed_seeds": [run["seed"] for run in finalist["runs"] if run["state"] == "FAIL"],
        "trained_parameters": finalist["trained_parameters"],
        "deployed_parameters": finalist["deployed_parameters"],
        "head_parameters": finalist["head_parameters"],
        "validation": {"values": validation, "mean": mean},
        "test": test,
        "raced": None if finalist["chosen"] else scored,
        "validation_minus_test": mean - test["mean"] if mean is not None and test else None,
        "probe": finalist.get("probe"),
        "mlflow_run_ids": [run["mlflow_run_id"] for run in finished],
    }


def _test(found: Contest, finalist: Finalist) -> dict[str, Any] | None:
    """The test scores of a finalist; of a contender's chosen one as they stand in the comparison."""
    sample = tested_sample(found.rows, finalist)
    if sample is None:
        return None
    names = [each.method for each in found.contenders if finalist["chosen"]]
    joint = finalist["method"] in names
    estimate = found.joint.mean(names.index(finalist["method"])) if joint else mean_interval(sample)
    estimate = found.within(estimate)
    return {
        "metric": found.rows["objective"]["metric"],
        "values": sample.values.tolist(),
        "mean": estimate.mean,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "spread": float(np.std(sample.values, ddof=1)) if len(sample.values) > 1 else None,
        "covers": estimate.covers,
        "degrees_of_freedom": estimate.degrees_of_freedom,
    }


def _gain(found: Contest, name: str) -> dict[str, Any] | None:
    """The method's test mean minus that of the trivial answer."""
    gains = {each.method: each.gain for each in (*found.contenders, *found.unlearned)}
    gain = gains.get(name)
    return asdict(gain) if gain else None


def _collapsed(found: Contest) -> dict[str, int]:
    """How many seeds of each tested method have collapsed."""
    tested = (*found.contenders, *found.unlearned)
    noise = [Joint([each.sample]).noise(0) for each in tested]
    counts = collapsed([each.sample.values for each in tested], noise)
    return {each.method: count for each, count in zip(tested, counts, strict=True)}


def _trivial(rows: Rows) -> dict[str, Any] | None:
    """The trivial answer and its test scores."""
    trivial = rows.get("trivial")
    return {key: trivial[key] for key in ("answers", "test", "test_task_scores")} if trivial else None  # type: ignore[literal-required]


def _provenance(rows: Rows) -> dict[str, Any]:
    """The rows' provenance, and every seed that was used."""
    seeds = {
        "study": rows["provenance"].get("seed"),
        "finalists": sorted({run["seed"] for finalist in rows["finalists"] for run in finalist["runs"]}),
    }
    return {**rows["provenance"], "seeds": seeds}


def _plain(value: Any) -> Any:
    """Values that strict JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    """A value for a spreadsheet. Text like a formula gets a leading apostrophe, as OWASP's "CSV Injection" asks."""
    if not isinstance(value, str):
        return value
    # the csv module leaves a lone return unquoted, and to a reader it ends the line
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return "'" + text if text.startswith(_FORMULA) else text
