"""How often the report's answer is right: simulated studies whose truth is known.

    python -m benchmarks.answer [coverage equal leads power] [--rounds 1000]

benchmarks/worlds.py has the studies. Every figure is a share of `rounds` studies, so its standard error is at most
sqrt(.25 / rounds), .7 % at 5 % and 1,000 rounds. Printed, as Markdown:

    coverage  the share of 95 % intervals that hold the true mean, and the true difference of two equal methods
    equal     equal methods: how often any difference is claimed, after all looks
    leads     one method leads: how often it is found, is in the set of those that could be best, another one is called best;
              the recommended method's score (share of intervals that hold it, bias), its shortfall and its deployed
              parameters against those of always taking the highest mean
    power     six methods at .80, 1,000 rows, seeds' standard deviation .01: how often a lead is found
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.worlds import METRICS, SKILL, World, study, truth
from dashboards.findings.contest import Contender, Contest
from dashboards.statistics import chosen, standing
from dashboards.statistics.collapse import collapsed
from dashboards.statistics.joint import Joint
from dashboards.statistics.sample import Sample

LOOKS = (5, 10)
PRICES = (770, 4610, 5380, 28418, 46850, 93700, 138000, 295000, 22_713_216)
"""Deployed parameters, heads included, as in a study of nine methods."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=4000, help="draws of the largest |t| in each study")
    given = parser.parse_args()
    standing.DRAWS = chosen.DRAWS = given.draws
    for name in given.parts:
        PARTS[name](given.rounds)


def coverage(rounds: int) -> None:
    """Intervals of one mean and of one difference."""
    print(
        "\n| metric | tasks | rows | groups, correlation | seeds | luck of seeds | mean | difference | flagged |"
    )
    print("|---|---:|---:|---:|---:|---|---:|---:|---:|")
    for world in _coverage_worlds():
        rng, held = np.random.default_rng(1), Counter[str]()
        wanted = truth(world, SKILL) if world.seed_kind != "two" else None
        for _ in range(rounds):
            samples, _ = study(world, rng)
            joint = Joint(samples)
            held["mean"] += _holds(joint.mean(0), wanted) if wanted is not None else 0
            held["difference"] += _holds(joint.difference(0, 1), 0.0)
            if wanted is None:
                _flag(joint, held)
        flagged = _percent(held["flagged"], held["in two"]) if held["in two"] else ""
        mean = _percent(held["mean"], rounds) if wanted is not None else ""
        groups = f"{world.groups}, {world.correlation:g}" if world.groups else ""
        cells = (world.metric, world.tasks, world.rows, groups, world.seeds, world.seed_kind, mean)
        print("|", *_with_bars(*cells, _percent(held["difference"], rounds), flagged), flush=True)


def _coverage_worlds() -> Iterator[World]:
    for metric in METRICS:
        for seeds in (3, 5, 10):
            yield World(metric=metric, seeds=seeds)
        yield World(metric=metric, rows=1000)
    for kind in ("heavy", "skewed", "two"):
        for seeds in (3, 5, 10):
            yield World(seeds=seeds, seed_kind=kind, seed_std=0.01 if kind == "two" else 0.03)
    for metric in ("accuracy", "entity_f1", "pearson"):
        for correlation in (0.0, 0.1, 0.3, 0.5):
            yield World(metric=metric, groups=20, correlation=correlation)
        yield World(metric=metric, rows=1000, groups=100, correlation=0.3)
    for metric in ("accuracy", "macro_f1"):
        yield World(metric=metric, tasks=3)
    yield World(rows=100)
    yield World(rows=5000, seed_std=0.02)


def equal(rounds: int) -> None:
    """Claims among equal methods."""
    print(
        f"\n| metric | methods | rows | seeds at most | seeds' std | groups, correlation | any claim | {'called best'} |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    worlds = [World(methods=methods, rows=rows) for methods in (2, 4, 6, 9) for rows in (200, 1000)]
    worlds += [World(metric=metric, methods=6) for metric in METRICS[1:]]
    worlds += [World(methods=2, rows=5000, seed_std=0.05), World(methods=4, seed_kind="heavy", seed_std=0.03)]
    worlds += [
        World(methods=4, seed_kind="skewed", seed_std=0.03),
        World(methods=4, groups=20, correlation=0.3),
    ]
    worlds += [World(methods=6, seeds=3), World(methods=3, rows=100)]
    for world in worlds:
        looks = LOOKS if world.seeds == 5 else (world.seeds, 2 * world.seeds)
        rng, claimed = np.random.default_rng(2), Counter[str]()
        for _ in range(rounds):
            ended, _ = whole_study(world, rng, looks)
            claimed["any"] += any(pair.shown for pair in ended.standing.pairs)
            claimed["best"] += ended.standing.best
        groups = f"{world.groups}, {world.correlation:g}" if world.groups else ""
        cells = (
            world.metric,
            world.methods,
            world.rows,
            looks[-1],
            f"{world.seed_std:g} {world.seed_kind}",
            groups,
        )
        print(
            "|",
            *_with_bars(*cells, _percent(claimed["any"], rounds), _percent(claimed["best"], rounds)),
            flush=True,
        )


@dataclass
class Tally:
    """What is counted over studies with a lead."""

    found: int = 0
    wrong: int = 0
    inside: int = 0
    held: int = 0
    bias: float = 0.0
    raw_bias: float = 0.0
    shortfall: float = 0.0
    of_highest: float = 0.0
    parameters: float = 0.0
    of_highest_parameters: float = 0.0
    share: float = 0.0
    seeds: float = 0.0


def leads(rounds: int) -> None:
    """One method leads, or none."""
    head = "methods|rows|lead|found|another called best|best in the set|score's interval holds|bias|bias uncorrected|shortfall|of the highest mean|parameters|of the highest mean|share of these, mean|seeds"
    print("\n|", " | ".join(head.split("|")), "|")
    print("|" + "---:|" * 15)
    total = Tally()
    cells = [
        (m, rows, lead)
        for m in (2, 4, 6, 9)
        for rows in (200, 1000)
        for lead in (0.0, 0.01, 0.02, 0.03, 0.05)
    ]
    for methods, rows, lead in cells:
        tally = _tally(World(methods=methods, rows=rows, lead=lead), rounds)
        _print_tally([methods, rows, lead], tally, rounds)
        for name in vars(total):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    _print_tally(["all", "", ""], total, rounds * len(cells))


def power(rounds: int) -> None:
    """The lead of one of six methods."""
    print("\n| lead | seeds | found | another called best | seeds used |\n|---:|---|---:|---:|---:|")
    for lead in (0.02, 0.03, 0.05):
        for looks in ((5,), LOOKS):
            tally = _tally(World(methods=6, rows=1000, lead=lead), rounds, looks)
            cells = (
                lead,
                " to ".join(map(str, looks)),
                _percent(tally.found, rounds),
                _percent(tally.wrong, rounds),
            )
            print("|", *_with_bars(*cells, f"{tally.seeds / rounds:.1f}"), flush=True)


def whole_study(
    world: World, rng: np.random.Generator, looks: tuple[int, ...] = LOOKS
) -> tuple[Contest, np.ndarray]:
    """A study with all its looks: seeds are added to the methods that could be the best, while they help."""
    samples, skills = study(replace(world, seeds=looks[-1]), rng)
    prices = np.array(sorted(rng.choice(PRICES, world.methods, replace=False)))
    have = dict.fromkeys(range(world.methods), looks[0])
    ended = _contest(samples, prices, have, looks)
    for seeds in looks[1:]:
        if len(ended.standing.members) < 2 or not ended.seeds_help:
            break
        have |= dict.fromkeys(
            (int(ended.contenders[index].method) for index in ended.standing.members), seeds
        )
        ended = _contest(samples, prices, have, looks)
    return ended, skills


def _contest(
    samples: list[Sample], prices: np.ndarray, have: dict[int, int], looks: tuple[int, ...]
) -> Contest:
    contenders = [
        Contender(str(index), {}, float(prices[index]), _first(sample, have[index]), have[index])
        for index, sample in enumerate(samples)
    ]
    rows: Any = {"methods": [], "finalists": [], "trials": [], "epsilon": 0.01}
    return Contest(rows, tuple(contenders), (), {}, looks)


def _first(sample: Sample, seeds: int) -> Sample:
    return replace(
        sample, values=sample.values[:seeds], tables=tuple(table[:seeds] for table in sample.tables)
    )


def _tally(world: World, rounds: int, looks: tuple[int, ...] = LOOKS) -> Tally:
    rng, tally = np.random.default_rng(3), Tally()
    for _ in range(rounds):
        ended, skills = whole_study(world, rng, looks)
        best, place = int(skills.argmax()), ended.standing
        taken = ended.recommended
        tally.found += place.best and place.leader == best
        tally.wrong += place.best and skills[place.leader] < skills.max()
        tally.inside += best in place.members
        estimate = chosen.corrected(ended.joint, taken)
        score = truth(world, float(skills[taken]))
        tally.held += _holds(estimate, score)
        tally.bias += estimate.mean - score
        tally.raw_bias += ended.contenders[taken].mean - score
        tally.shortfall += float(skills.max() - skills[taken])
        tally.of_highest += float(skills.max() - skills[place.leader])
        tally.parameters += ended.contenders[taken].price
        tally.of_highest_parameters += ended.leader.price
        tally.share += ended.contenders[taken].price / ended.leader.price
        tally.seeds += sum(each.planned for each in ended.contenders)
    return tally


def _print_tally(cells: list[Any], tally: Tally, count: int) -> None:
    shares = [_percent(number, count) for number in (tally.found, tally.wrong, tally.inside, tally.held)]
    means = [tally.bias, tally.raw_bias, tally.shortfall, tally.of_highest]
    sizes = [tally.parameters, tally.of_highest_parameters]
    texts = [f"{number / count:.4f}" for number in means] + [f"{number / count:,.0f}" for number in sizes]
    print(
        "|",
        *_with_bars(*cells, *shares, *texts, _percent(tally.share, count), f"{tally.seeds / count:.1f}"),
        flush=True,
    )


def _flag(joint: Joint, held: Counter[str]) -> None:
    """Counts the methods whose seeds are in two groups, and those that are told so."""
    values = [sample.values for sample in joint.samples]
    lost = [(mine < mine.max() - 0.1).sum() for mine in values]
    told = collapsed(values, [joint.noise(index) for index in range(len(values))])
    for number, said in zip(lost, told, strict=True):
        held["in two"] += bool(number)
        held["flagged"] += bool(number) and said > 0


def _holds(estimate: Any, wanted: float) -> bool:
    return bool(estimate.ci_low <= wanted <= estimate.ci_high)


def _percent(count: float, total: int) -> str:
    return f"{100 * count / total:.1f} %"


def _with_bars(*cells: Any) -> Iterator[str]:
    for cell in cells:
        yield f"{cell} |"


PARTS = {"coverage": coverage, "equal": equal, "leads": leads, "power": power}

if __name__ == "__main__":
    main()
