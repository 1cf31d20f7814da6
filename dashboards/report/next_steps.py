"""The commands that make an answer surer: what mends a provisional verdict, and what would decide a tie."""

from __future__ import annotations

import shlex
from typing import Any

from dashboards.findings import words
from dashboards.findings.contest import Contest
from dashboards.findings.verdict import Verdict

Step = dict[str, str | None]

SAME_STUDY = ("search.", "finalists.")
"""Settings that may change in a study that exists; another one makes it another study."""
MOST_ROWS = 20
"""More rows than this many times are not advised."""


def next_steps(found: Contest, verdict: Verdict) -> list[Step]:
    """Each step's `why` and `command`; the command is None where data are what is missing."""
    steps: list[Step] = []
    if verdict.mends or found.rows["partial"]:
        learned = verdict.decision != "nothing learned"
        why = "To mend what makes the verdict provisional" if learned else "To train longer"
        steps.append({"why": why, "command": _launch(found, verdict.mends)})
    if verdict.decision == "tied" and verdict.decides is not None:
        steps.append(_decide(found, verdict.decides))
    return steps


def _decide(found: Contest, decides: dict[str, Any]) -> Step:
    """What would tell the leader from its nearest rival."""
    why = f"To tell {decides['for']} and {decides['against']} apart"
    if decides["seeds"] is not None:
        took = f" (about {words.minutes(decides['seconds'])} of training)" if decides["seconds"] else ""
        return {"why": f"{why}{took}", "command": _launch(found, [f"finalists.max_seeds={decides['seeds']}"])}
    factor = decides["rows_factor"]
    if factor is not None and factor <= MOST_ROWS:
        return {
            "why": f"{why}: about {factor:.2g} times as many test rows. More seeds will not do it",
            "command": None,
        }
    search = found.joint.search
    if search is not None and search.variance * 2 > 0.5 * (decides["error"] ** 2):
        trials = 2 * max(method["budget"] for method in found.rows["methods"])
        why += ": more trials, since configurations of one method differ most"
        return {"why": why, "command": _launch(found, [f"search.trials_per_method={trials}"])}
    return {
        "why": f"{why} would take more seeds and test rows than is worth it: they are about equal",
        "command": None,
    }


def _launch(found: Contest, settings: list[str]) -> str:
    """The command that launches the study again, as another study where a setting demands it."""
    name = found.rows["study"]
    if any(not setting.startswith(SAME_STUDY) for setting in settings):
        settings = [*settings, f"study={name}-2"]
    given = " ".join(f"--set {shlex.quote(setting)}" for setting in settings)
    return f"promptfront launch {_study_file(found)} {given}".rstrip()


def _study_file(found: Contest) -> str:
    """The path of the study file as the study was launched."""
    command = str(found.rows["provenance"].get("command") or "")
    try:
        parts = shlex.split(command)
    except ValueError:
        parts = []
    return shlex.quote(next((part for part in parts if part.endswith((".yaml", ".yml"))), "STUDY.yaml"))
