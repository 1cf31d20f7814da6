"""The commands that make an answer surer: what mends a provisional verdict, and what would decide a tie."""

from __future__ import annotations

import shlex
from typing import Any

from dashboards.findings import words
from dashboards.findings.contest import Contest
from dashboards.findings.provisional import another
from dashboards.findings.verdict import Verdict, against

Step = dict[str, str | None]

SAME_STUDY = ("search.", "finalists.")
"""Settings that may change in a study that exists; another one makes it another study."""
MOST_ROWS = 20
"""More rows than this many times are not advised."""
MEND = "To mend what makes the verdict provisional"


def next_steps(found: Contest, verdict: Verdict) -> list[Step]:
    """Each step's `why` and `command`; the command is None where data are what is missing."""
    steps: list[Step] = []
    if verdict.mends or found.rows["partial"]:
        why = MEND if verdict.provisional else "To train longer" if verdict.mends else "To finish the study"
        if any("failed" in reason for reason in verdict.provisional):
            why = "Mend the cause of the failures, then launch again"
        steps.append({"why": why, "command": _launch(found, verdict.mends)})
    if verdict.decision == "tied" and verdict.decides is not None:
        pair = against(found, verdict.decides["for"], verdict.decides["against"])
        if pair and pair["outcome"] != "equal":  # equal is an answer
            steps.append(_decide(found, verdict.decides))
    return steps


def _decide(found: Contest, decides: dict[str, Any]) -> Step:
    """What would tell the leader from its nearest rival."""
    names = f"{decides['for']} and {decides['against']} apart"
    why = f"To tell {names}"
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
        "why": f"No realistic number of seeds or test rows would tell {names}: they score too nearly the same",
        "command": None,
    }


def _launch(found: Contest, settings: list[str]) -> str:
    """The command that launches the study again, as another study where a setting demands it."""
    settings = [*settings, *_room_for_seeds(found, settings)]
    new = [setting for setting in settings if not setting.startswith(SAME_STUDY)]
    if new and not any(setting.startswith("study=") for setting in new):
        settings.append(f"study={another(found.rows)}")
    given = " ".join(f"--set {shlex.quote(setting)}" for setting in settings)
    return f"promptfront launch {_study_file(found)} {given}".rstrip()


def _room_for_seeds(found: Contest, settings: list[str]) -> list[str]:
    """`max_seeds` where the study's own is below the seeds that are advised."""
    seeds = found.rows.get("seeds")
    wanted = [int(text.partition("=")[2]) for text in settings if text.startswith("finalists.num_seeds=")]
    if not wanted or not seeds or seeds["max_seeds"] >= wanted[0]:
        return []
    return [f"finalists.max_seeds={2 * wanted[0]}"]


def _study_file(found: Contest) -> str:
    """The path of the study file as the study was launched."""
    command = str(found.rows["provenance"].get("command") or "")
    try:
        parts = shlex.split(command)
    except ValueError:
        parts = []
    return shlex.quote(next((part for part in parts if part.endswith((".yaml", ".yml"))), "STUDY.yaml"))
