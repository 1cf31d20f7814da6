"""The settings of the second stage, in which the best configurations are retrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from search.config.values import Section


class Round(NamedTuple):
    """A part of a race between configurations of a method.

    Attributes:
        configurations: how many race; all others are out.
        seeds: how many each of them has at its end.
    """

    configurations: int
    seeds: int


RACE = (Round(4, 1), Round(2, 2))
"""The rounds of a race: at most six runs, and nine with those that the chosen configuration gets up to five seeds.

Choosing needs fewer seeds than testing does. What the race gains is in docs/search_quality.md.
"""


class FinalistsConfig(Section):
    """The second stage: the best configurations are retrained with fresh seeds and scored on test."""

    num_seeds: int = Field(
        default=5, ge=1, description="Fresh seeds for each finalist; with 3 the intervals are rough"
    )
    max_seeds: int | None = Field(
        default=None,
        ge=1,
        description="Seeds are added, a few at a time, to the methods that cannot be told apart, up to this many; null: twice "
        "num_seeds; num_seeds: none are added",
    )
    epsilon: float = Field(default=0.01, ge=0, description="Difference in score that does not matter to you")
    default: bool = Field(
        default=False, description="Retrain the published defaults too, to see what the search gained"
    )

    @field_validator("max_seeds")
    @classmethod
    def _at_least_num_seeds(cls, value: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("num_seeds", 1)
        if value is not None and value < least:
            raise ValueError(f"must be at least num_seeds ({least}), or null, not {value}")
        return value

    def race(self, rounds: Sequence[Round] = RACE) -> tuple[Round, ...]:
        """The rounds of a race, none with more seeds than a finalist gets."""
        return tuple(each._replace(seeds=min(each.seeds, self.num_seeds)) for each in rounds)

    def most_runs(self, rounds: Sequence[Round], trials: int) -> int:
        """The most runs of a method with so many search trials, without extra seeds; `rounds` of `race`."""
        chosen = race_runs(rounds, trials) + self.num_seeds - rounds[-1].seeds
        return chosen + (self.num_seeds if self.default else 0)

    @property
    def most_seeds(self) -> int:
        """The most seeds that a finalist may get."""
        return 2 * self.num_seeds if self.max_seeds is None else self.max_seeds

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which the study is looked at: twice as many each time, up to the most.

        Each look costs a part of the level of significance (dashboards/statistics/looks.py); few looks that are far apart cost
        the last one almost nothing.
        """
        found = [self.num_seeds]
        while found[-1] < self.most_seeds:
            found.append(min(2 * found[-1], self.most_seeds))
        return tuple(found)


def race_runs(rounds: Sequence[Round], configurations: int, seeds: int = 0) -> int:
    """The most runs of these rounds.

    Args:
        rounds: that are left.
        configurations: how many there are to race.
        seeds: how many each has before.
    """
    count = 0
    for each in rounds:
        count += min(each.configurations, configurations) * (each.seeds - seeds)
        seeds = each.seeds
    return count
