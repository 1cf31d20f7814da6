"""Gives more seeds to the methods that cannot be told apart, and says so on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console

from search.study import extra_seeds
from search.study.finalists import planned_seeds
from search.study.race import choose
from search.study.study import Study


def add(study: Study, undecided: Callable[[], list[str]], console: Console) -> bool:
    """Decides which methods get more seeds, if that is still to be decided.

    Args:
        study: the study; its finalists are scored on test.
        undecided: returns the methods that cannot be told apart and that more seeds might.
        console: where the decision is shown.

    Returns:
        Whether any method gets more.
    """
    if extra_seeds.undecided_yet(study):
        methods = undecided()
        had = sorted({planned_seeds(study, method) for method in methods})
        given = extra_seeds.decide(study, methods)
        if given is not None:
            _say(console, _announcement(methods, had, given))
            return True
    _tell_counts(study, console)
    return False


def _announcement(methods: Sequence[str], had: Sequence[int], given: int) -> str:
    cannot = f"Cannot tell {_and(methods)} " + ("apart" if len(methods) > 1 else "from the others")
    if len(had) > 1:
        return f"{cannot} yet: training each with more seeds, {given} in all ..."
    seeds, them = "seed" if had[0] == 1 else "seeds", "them" if len(methods) > 1 else "it"
    return f"{cannot} with {had[0]} {seeds}: training {them} with {given - had[0]} more ..."


def _tell_counts(study: Study, console: Console) -> None:
    """Says how many seeds each method had, if some had extra ones."""
    by_count: dict[int, list[str]] = {}
    for method in study.config.methods:
        if choose(study, method) is not None:
            by_count.setdefault(planned_seeds(study, method), []).append(method)
    if max(by_count, default=0) > study.config.finalists.num_seeds:
        parts = [f"{count} for {_and(by_count[count])}" for count in sorted(by_count, reverse=True)]
        _say(console, f"Seeds of the finalists: {', '.join(parts)}.")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _and(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
