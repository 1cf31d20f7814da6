"""Extra seeds: a few more at a time for the methods that cannot be told apart.

When all finalists are scored on test, the report says which methods are undecided. Their chosen finalists get the seeds of
the next look, are scored, and the study is looked at again, until nothing is undecided or `finalists.max_seeds` is reached.
A decision is stored before anything runs, with what it was based on. So a study that is launched again goes on with it, and
decides anew only where its trials or settings have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search.study import finalists, race
from search.study.finalists import MORE_SEEDS
from search.study.records import Records
from search.study.study import Study


def looks_of(study: Records) -> tuple[int, ...]:
    """The looks of a study; one that an earlier version began has more than one only on request."""
    settings = study.config.finalists
    if settings.max_seeds is None and None in [race.version(study, name) for name in study.config.methods]:
        return (settings.num_seeds,)
    return settings.looks


def next_look(study: Records) -> int | None:
    """The number of seeds of the next look; None if no look is left, or no method has a chosen finalist."""
    now = [
        finalists.planned_seeds(study, name)
        for name in study.config.methods
        if race.choose(study, name) is not None
    ]
    return next((look for look in looks_of(study) if now and look > max(now)), None)


def undecided_yet(study: Study) -> bool:
    """Whether all finalists are scored on test, and it is to be decided which methods get more seeds."""
    if not finalists.has_test(study) or next_look(study) is None or _fact(study).get("seen") == _seen(study):
        return False
    return study.finished() and not finalists.untested(study)


def decide(study: Records, methods: Sequence[str]) -> int | None:
    """Records that these methods get the seeds of the next look, or that none does.

    Returns:
        The number of seeds they get; None if `methods` is empty.
    """
    look = next_look(study)
    assert look is not None, "nothing is decided after the last look"
    assert all(race.choose(study, name) is not None for name in methods), "only a finalist gets seeds"
    planned = {**_fact(study).get("seeds", {}), **dict.fromkeys(methods, look)}
    study.record_study_fact(MORE_SEEDS, {"seeds": planned, "seen": _seen(study)})
    return look if methods else None


def reported_seeds(study: Study) -> dict[str, int]:
    """How many seeds of each method's chosen finalist a report has.

    Extra seeds count once those of every method have ended and are scored: until then a report has those of the look before.
    """
    planned = {name: finalists.planned_seeds(study, name) for name in study.config.methods}
    if study.finished() and not finalists.untested(study):
        return planned
    before: dict[str, int] = _fact(study).get("seen", {}).get("seeds", {})
    least = study.config.finalists.num_seeds
    return {name: max(least, min(before.get(name, least), count)) for name, count in planned.items()}


def _fact(study: Records) -> dict[str, Any]:
    """`seeds`: the seeds of each method that gets more; `seen`: what the last decision was based on."""
    found: dict[str, Any] = study.known_fact(MORE_SEEDS) or {}
    return found


def _seen(study: Records) -> dict[str, Any]:
    names = study.config.methods
    return {
        "chosen": {name: race.choose(study, name) for name in names},
        "seeds": {name: finalists.planned_seeds(study, name) for name in names},
        "looks": list(looks_of(study)),
    }
