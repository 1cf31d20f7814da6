"""The methods of a study as contenders: what was tested, what learned, and which of them could be the best."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from dashboards.findings.samples import LARGEST, tested_sample, trivial_sample
from dashboards.findings.search_spread import search_spread
from dashboards.rows import Finalist, Rows, Scalar, finite
from dashboards.statistics import chosen
from dashboards.statistics.joint import Estimate, Joint
from dashboards.statistics.looks import ALPHA, levels
from dashboards.statistics.sample import Sample
from dashboards.statistics.standing import Pair, Standing, standing

TOO_LARGE = "has test scores that are too large to compare"
SEEDS_HELP = 0.15
"""Seeds help where they carry this share of a difference's variance, or more; the rest is that of the test examples."""


@dataclass(frozen=True)
class Contender:
    """A method whose chosen finalist was tested with enough seeds.

    Attributes:
        price: all that is deployed beside the backbone, heads included; infinite where it is not known.
        planned: how many seeds it was trained with, failed ones too.
        gain: its test mean minus that of the trivial answer; None where there is no trivial answer.
    """

    method: str
    config: dict[str, Scalar]
    price: float
    sample: Sample
    planned: int
    gain: Estimate | None = None

    @property
    def mean(self) -> float:
        """The test mean over seeds."""
        return self.sample.mean

    @property
    def failed_seeds(self) -> int:
        return self.planned - len(self.sample.values)

    @property
    def learned(self) -> bool:
        """Whether it is shown to beat the trivial answer; True where there is none, or one seed shows nothing."""
        if self.gain is None or self.gain.p_value is None:
            return True
        return self.gain.mean > 0 and self.gain.p_value < ALPHA


@dataclass(frozen=True)
class Contest:
    """What a study can compare.

    Attributes:
        contenders: methods that learned something, the cheapest first; of equal prices the better one.
        unlearned: tested methods that are not shown to beat the trivial answer.
        untested: the other methods of the study, each with the reason.
        looks: the numbers of seeds at which differences are looked at.
    """

    rows: Rows
    contenders: tuple[Contender, ...]
    unlearned: tuple[Contender, ...]
    untested: dict[str, str]
    looks: tuple[int, ...]

    @cached_property
    def joint(self) -> Joint:
        """The contenders in one comparison."""
        return Joint([each.sample for each in self.contenders], search_spread(self.rows))

    @cached_property
    def configurations(self) -> Joint:
        """The same for the configurations as they are, whatever another search would have found."""
        return Joint(self.joint.samples)

    @cached_property
    def standing(self) -> Standing:
        """Which of the contenders could be the best."""
        return standing(self.joint, self.level)

    def state(self, method: str) -> str:
        """What has become of a method: compared, did not learn, or why it was not tested."""
        if any(each.method == method for each in self.contenders):
            return "compared"
        return self.untested.get(method, "did not learn")

    @property
    def whole(self) -> bool:
        """Whether every method of the study is among the contenders."""
        return not self.unlearned and not self.untested

    @property
    def look(self) -> int:
        """The index of this look."""
        most = max((each.planned for each in self.contenders), default=0)
        return max((index for index, seeds in enumerate(self.looks) if seeds <= most), default=0)

    @property
    def level(self) -> float:
        """The level of significance at this look; all of it where there is only one."""
        return levels(self.looks)[self.look] if self.seeds_help or self.look else ALPHA

    @cached_property
    def seeds_help(self) -> bool:
        """Whether more seeds would make differences surer. Variances alone decide it, not the differences."""
        parts = [max(self.joint.seeds_part(index)[0], 0.0) for index in range(len(self.contenders))]
        return any(
            parts[one] + parts[other]
            >= SEEDS_HELP * (self.joint.difference(one, other).error or 0.0) ** 2
            > 0
            for one, other in combinations(range(len(parts)), 2)
        )

    @cached_property
    def recommended(self) -> int:
        """The index of the recommended contender: a configuration is taken, so the search's spread does not count here."""
        place, count = self.standing, len(self.contenders)
        allowed = np.isin(np.arange(count), place.members)
        return int(chosen.recommended(self.joint.means[None], chosen.errors(self.configurations), allowed)[0])

    @property
    def cheapest(self) -> bool:
        """Whether the recommended contender costs less than all others that could be the best."""
        taken = self.contenders[self.recommended]
        others = [self.contenders[index] for index in self.standing.members if index != self.recommended]
        return math.isfinite(taken.price) and all(taken.price < each.price for each in others)

    @property
    def leader(self) -> Contender:
        """The one with the highest mean."""
        return self.contenders[self.standing.leader]

    def within(self, score: Estimate) -> Estimate:
        """The estimate of a score, whose interval ends where no score can be: Student's t knows no bounds."""
        bounds = self.rows["objective"].get("range")
        if bounds is None or score.ci_low is None or score.ci_high is None:
            return score
        return replace(score, ci_low=max(score.ci_low, bounds[0]), ci_high=min(score.ci_high, bounds[1]))

    def pair(self, one: str, other: str) -> Pair | None:
        """The comparison of two methods; None if one is no contender."""
        places = {each.method: index for index, each in enumerate(self.contenders)}
        if one not in places or other not in places:
            return None
        return self.standing.pair(places[one], places[other])


def contest(rows: Rows) -> Contest:
    """Sorts the methods of a study by what is known of them."""
    found, untested = [], {}
    for method in rows["methods"]:
        name = method["method"]
        mine = next((each for each in rows["finalists"] if each["method"] == name and each["chosen"]), None)
        contender = _contender(rows, mine) if mine else None
        if contender is None:
            untested[name] = _why_not(rows, name, mine)
        else:
            found.append(contender)
    ordered = sorted(found, key=lambda each: (each.price, -each.mean))
    seeds = rows.get("seeds")
    most = max((each.planned for each in found), default=1)
    return Contest(
        rows,
        tuple(each for each in ordered if each.learned),
        tuple(each for each in ordered if not each.learned),
        untested,
        tuple(seeds["looks"]) if seeds else (most,),
    )


def _contender(rows: Rows, finalist: Finalist) -> Contender | None:
    sample = tested_sample(rows, finalist)
    planned = len(finalist["runs"])
    if sample is None or len(sample.values) < min(2, planned):
        return None
    counts = (finalist["deployed_parameters"], finalist["head_parameters"])
    price = math.inf if counts[0] is None else float(counts[0] + (counts[1] or 0))
    return Contender(finalist["method"], finalist["config"], price, sample, planned, _gain(rows, sample))


def _gain(rows: Rows, sample: Sample) -> Estimate | None:
    """A method's test mean minus that of the trivial answer, on the same examples."""
    trivial = trivial_sample(rows)
    if trivial is None:
        return None
    paired = [table.shape[1] for table in sample.tables] == [table.shape[1] for table in trivial.tables]
    tables = tuple(a - b for a, b in zip(sample.tables, trivial.tables, strict=True)) if paired else ()
    return Joint([Sample(sample.values - trivial.values, tables, sample.freedom if paired else ())]).mean(0)


def _why_not(rows: Rows, name: str, finalist: Finalist | None) -> str:
    """Why a method was not tested, in words that follow its name."""
    if finalist is None:
        states = [trial["state"] for trial in rows["trials"] if trial["method"] == name]
        runs = [run["state"] for each in rows["finalists"] if each["method"] == name for run in each["runs"]]
        if runs and all(state == "FAIL" for state in runs):
            return "failed with every seed"
        if states and all(state == "FAIL" for state in states):
            return "failed in every trial"
        return "has not been retrained yet" if "COMPLETE" in states else "has no complete trial"
    done = sum(run["state"] == "COMPLETE" for run in finalist["runs"])
    failed = sum(run["state"] == "FAIL" for run in finalist["runs"])
    if failed:
        return f"failed with {failed} of {len(finalist['runs'])} seeds" if done else "failed with every seed"
    if any(finite(run["test"]) and abs(run["test"]) >= LARGEST for run in finalist["runs"]):
        return TOO_LARGE
    return "has not been tested yet"
