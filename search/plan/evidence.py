"""What a study can show, before it runs: how often it would find a method that leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboards.statistics import power
from search.config.study_config import StudyConfig

LEADS = (0.02, 0.03, 0.05, 0.1)
UNBOUNDED = ("neg_perplexity",)
"""Metrics that are no shares, for which a lead of 0.05 means nothing."""


def can_show(config: StudyConfig, units: Mapping[str, int]) -> str | None:
    """A sentence on the leads that the study would find; None where it cannot be told.

    Args:
        config: the study.
        units: for each task the number of its test examples, or of their groups.
    """
    metrics = {task.metric for task in config.tasks}
    if len(config.methods) < 2 or config.finalists.num_seeds < 2 or metrics & set(UNBOUNDED):
        return None
    if not units or len(units) < len(config.tasks) or min(units.values()) < 2:
        return None
    looks, rows = config.finalists.looks, _together(list(units.values()), config.search.objective)
    found = {lead: power.power(lead, len(config.methods), looks, rows) for lead in LEADS}
    shown = [f"by {lead:g} in {100 * share:.0f} %" for lead, share in found.items() if share < 0.995]
    shown = shown or [f"by {LEADS[0]:g} in nearly all"]
    seeds = " to ".join(str(look) for look in dict.fromkeys((looks[0], looks[-1])))
    text = f"With {seeds} seeds and {', '.join(f'{count:,}' for count in units.values())} test rows, a method that is better than all "
    text += (
        f"others is found {', '.join(shown)} of studies (assumed: scores near {power.SCORE:g} that vary by "
    )
    return text + f"{power.SEED_STD:g} over seeds, one search)"


def _together(units: Sequence[int], objective: str) -> float:
    """The number of examples of one task that would give as large an error."""
    if objective == "worst":
        return float(min(units))
    return len(units) ** 2 / sum(1 / count for count in units)
