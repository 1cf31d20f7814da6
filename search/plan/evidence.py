"""What a study can show, before it runs: how often it would find a method that leads."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.statistics import power
from search.config.study_config import StudyConfig
from search.metrics.ranges import score_range
from search.plan.notes import Counted

LEADS = (0.02, 0.03, 0.05, 0.1)


def can_show(config: StudyConfig, tasks: Sequence[Counted]) -> str | None:
    """A sentence on the leads that the study would find; None where it cannot be told.

    Args:
        config: the study.
        tasks: its tasks; one without a test split shows nothing.
    """
    units = [task.groups.get("test", task.rows.get("test", 0)) for task in tasks]
    bounded = (
        score_range(task.metric for task in config.tasks) is not None
    )  # else a lead of 0.05 means nothing
    if len(config.methods) < 2 or config.finalists.num_seeds < 2 or not bounded:
        return None
    if not units or min(units) < 2:
        return None
    looks, rows = config.finalists.looks, _together(units, config.search.objective)
    found = {lead: power.power(lead, len(config.methods), looks, rows) for lead in LEADS}
    leads = [f"{lead:g} in {100 * share:.0f} %" for lead, share in found.items() if share < 0.995]
    leads = leads or [f"{LEADS[0]:g} in nearly all"]
    seeds = " to ".join(str(look) for look in dict.fromkeys((looks[0], looks[-1])))
    counts = " and ".join(
        f"{count:,} {'groups of test rows' if 'test' in task.groups else 'test rows'}"
        for task, count in zip(tasks, units, strict=True)
    )
    text = f"With {seeds} seeds and {counts} a lead over all others is found so often: {', '.join(leads)} of studies"
    return f"{text} (assumed: scores near {power.SCORE:g} that vary by {power.SEED_STD:g} over seeds; one search)."


def _together(units: Sequence[int], objective: str) -> float:
    """The number of examples of one task that would give as large an error."""
    if objective == "worst":
        return float(min(units))
    return len(units) ** 2 / sum(1 / count for count in units)
