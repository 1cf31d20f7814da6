"""What would tell tied methods apart: more seeds, more test rows, or nothing."""

from __future__ import annotations

import math
from typing import Any

from dashboards.findings.contest import Contest, contest
from dashboards.rows import Rows, finite

POWER = 2.8
"""A difference of so many standard errors is found at the level of 5 % in 80 % of studies: 1.96 + 0.84."""
MOST_SEEDS = 50
"""More seeds than these are not advised."""


def undecided(rows: Rows) -> list[str]:
    """The methods whose chosen configuration should get the seeds of the next look.

    They are those that could be the best, if there are several, if there is another look, and if more seeds would help.
    """
    found = contest(rows)
    if len(found.contenders) < 2 or len(found.standing.members) < 2:
        return []
    if found.look + 1 >= len(found.looks) or not found.seeds_help:
        return []
    return [found.contenders[index].method for index in found.standing.members]


def would_decide(found: Contest) -> dict[str, Any] | None:
    """What would tell the leader from its nearest rival, taking their difference as it was found.

    Returns:
        `for` and `against` (the two methods), `error` (of their difference), and what would show the difference in 80 % of studies:
        `seeds` (each in all, with `seconds` of training) or `rows_factor` (so many times the test rows). None where nothing is
        tied or nothing was measured.
    """
    place = found.standing
    if place.best or len(found.contenders) < 2:
        return None
    rivals = [index for index in place.members if index != place.leader]
    rivals = rivals or [index for index in range(len(found.contenders)) if index != place.leader]
    nearest = min(rivals, key=lambda index: found.joint.means[place.leader] - found.joint.means[index])
    estimate = found.joint.difference(place.leader, nearest)
    if estimate.error is None or not estimate.error:
        return None
    about: dict[str, Any] = {
        "for": found.contenders[place.leader].method,
        "against": found.contenders[nearest].method,
        "error": estimate.error,
    }
    wanted = (abs(estimate.mean) / POWER) ** 2
    seeds = sum(max(found.joint.seeds_part(index)[0], 0.0) for index in (place.leader, nearest))
    others = estimate.error**2 - seeds
    have = min(len(found.contenders[index].sample.values) for index in (place.leader, nearest))
    needed = math.ceil(have * seeds / (wanted - others)) if wanted > others else None
    if needed is not None and needed <= MOST_SEEDS:
        needed = max(needed, have + 1)
        tied = [found.contenders[index].method for index in place.members]
        seconds = _seconds(found.rows, tied, needed)
        return {**about, "seeds": needed, "rows_factor": None, "seconds": seconds}
    search = 2 * found.joint.search.variance if found.joint.search else 0.0
    examples = others - search
    room = wanted - search - seeds / 2  # with twice the seeds
    factor = examples / room if room > 0 and examples > 0 else None
    return {**about, "seeds": None, "rows_factor": factor, "seconds": None}


def _seconds(rows: Rows, methods: list[str], seeds: int) -> float | None:
    """Seconds of training for `seeds` seeds of each method, less those that are there."""
    total = 0.0
    for finalist in rows["finalists"]:
        if not finalist["chosen"] or finalist["method"] not in methods:
            continue
        known = [run["seconds"] for run in finalist["runs"] if finite(run["seconds"])]
        if not known:
            return None
        total += sum(known) / len(known) * max(seeds - len(finalist["runs"]), 0)
    return total
