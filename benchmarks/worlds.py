"""Simulated test scores whose truth is known: for benchmarks/answer.py.

What a method answers to a test example is decided by a latent number, in part the example's own (what is hard for all), in part the
method's, in part that of a single training: .5, .2 and .3 of it. An example is right where its number is below the quantile of
the method's skill; a training seed moves the skill. Examples of one group have a share `correlation` of each part in common.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dashboards.statistics.sample import Sample
from search.metrics import correlations, labels, score, texts
from search.metrics.score import Score

FloatArray = NDArray[np.float64]

METRICS = ("accuracy", "macro_f1", "matthews", "entity_f1", "pearson", "spearman", "bleu")
PARTS = np.array([0.5, 0.2, 0.3])
PARTS /= np.linalg.norm(PARTS)
SKILL = 0.8
COLLAPSE, LOSS = 0.25, 0.2
"""In two groups of seeds, a quarter collapse and lose this much skill."""


@dataclass(frozen=True)
class World:
    """A kind of study.

    Attributes:
        lead: what the best method has more skill than the others; it stands at a random place.
        seed_kind: the distribution of the seeds' luck: normal, heavy (Student's t, 3 df), skewed (exponential), two (groups).
        groups: the number of groups of the examples; 0: each is its own.
        correlation: of the latent numbers within a group.
    """

    metric: str = "accuracy"
    methods: int = 2
    seeds: int = 5
    rows: int = 200
    lead: float = 0.0
    seed_std: float = 0.01
    seed_kind: str = "normal"
    groups: int = 0
    correlation: float = 0.0
    tasks: int = 1


def study(world: World, rng: np.random.Generator) -> tuple[list[Sample], FloatArray]:
    """A sample for each method, and each method's skill."""
    skills = np.full(world.methods, SKILL)
    skills[rng.integers(world.methods)] += world.lead
    luck = _luck(world, (world.methods, world.seeds), rng)
    tables: list[list[FloatArray]] = [[] for _ in skills]
    values = np.zeros((world.methods, world.seeds))
    groups = [_groups(world, rng) for _ in range(world.tasks)]
    for group in groups:
        shared, own = _latent(world, group, (1,), rng), _latent(world, group, (world.methods,), rng)
        noise = _latent(world, group, (world.methods, world.seeds), rng)
        latent = PARTS[0] * shared[:, None] + PARTS[1] * own[:, None] + PARTS[2] * noise
        facts = _facts(world.rows, rng)
        for method, skill in enumerate(skills):
            found = [
                answered(world.metric, latent[method, seed], skill + luck[method, seed], facts)
                for seed in range(world.seeds)
            ]
            tables[method].append(np.array([each.examples for each in found]))
            values[method] += np.array([each.value for each in found]) / world.tasks
    known = [None if group is None else group.tolist() for group in groups]
    return [Sample.of(mine, value, groups=known) for mine, value in zip(tables, values, strict=True)], skills


@functools.cache
def truth(world: World, skill: float) -> float:
    """The mean score of a method with this skill over new seeds and new examples."""
    alone = replace(world, methods=1, lead=0.0, groups=0, correlation=0.0, tasks=1)
    rng = np.random.default_rng(zlib.crc32(repr((alone, skill)).encode()))
    rows, count = 5000, 800
    found = [
        answered(world.metric, rng.normal(size=rows), skill + luck, _facts(rows, rng)).value
        for luck in _luck(world, (count,), rng)
    ]
    return float(np.mean(found))


def answered(metric: str, latent: FloatArray, skill: float, facts: FloatArray) -> Score:
    """The score of one training: its answers to examples with the facts `[E, 12]`, uniform numbers."""
    quantile = stats.norm.ppf(min(max(skill, 1e-3), 1 - 1e-3))
    hit = latent < quantile
    if metric == "accuracy":
        return score.mean(hit.astype(float).tolist())
    if metric in ("macro_f1", "matthews"):
        right = np.digitize(facts[:, 0], [0.5, 0.8])
        given = np.where(hit, right, (right + 1 + (facts[:, 1] < 0.4)) % 3)
        return (labels.macro_f1 if metric == "macro_f1" else labels.matthews)(right.tolist(), given.tolist())
    if metric == "entity_f1":
        count = np.floor(facts[:, 0] * 4)
        # of the entities of a sentence a part is found, more where it is easy; where it is hard, others are made up
        share = stats.norm.cdf(quantile - latent)
        hits = (facts[:, 1:4] < share[:, None]) @ np.ones(3)
        hits = np.minimum(hits, count)
        made_up = (facts[:, 4] > share).astype(float)
        return score.ratio(2 * hits, count + hits + made_up)
    if metric in ("pearson", "spearman"):
        right = stats.norm.ppf(facts[:, 0])
        given = skill * right + np.sqrt(1 - min(skill, 0.999) ** 2) * latent
        function = correlations.pearson if metric == "pearson" else correlations.spearman
        return function(right.tolist(), given.tolist())
    assert metric == "bleu"
    length = 8 + np.floor(8 * facts[:, 0])
    share = stats.norm.cdf(quantile - latent)
    words = length[:, None] - np.arange(4)
    matched = words * share[:, None] ** np.arange(1, 5)
    written = length - np.floor(2 * facts[:, 2])
    made = np.maximum(written[:, None] - np.arange(4), 1)
    return texts.bleu_of_counts(np.column_stack([np.minimum(np.round(matched), made), made, written, length]))


def _luck(world: World, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    if world.seed_kind == "two":
        collapsed = rng.random(shape) < COLLAPSE
        return rng.normal(0, world.seed_std, shape) - LOSS * collapsed
    drawn = {
        "normal": lambda: rng.normal(size=shape),
        "heavy": lambda: rng.standard_t(3, size=shape) / np.sqrt(3),
        "skewed": lambda: rng.exponential(size=shape) - 1,
    }[world.seed_kind]()
    return np.asarray(world.seed_std * drawn)


def _groups(world: World, rng: np.random.Generator) -> NDArray[np.int64] | None:
    """The group of each example; sizes differ, each group has one at least."""
    if not world.groups:
        return None
    shares = rng.dirichlet(np.full(world.groups, 4.0))
    rest = rng.choice(world.groups, world.rows - world.groups, p=shares)
    return np.concatenate([np.arange(world.groups), rest])


def _latent(
    world: World, group: NDArray[np.int64] | None, shape: tuple[int, ...], rng: np.random.Generator
) -> FloatArray:
    """[*shape, E] Standard normal numbers, alike within groups."""
    own = rng.normal(size=(*shape, world.rows))
    if group is None:
        return own
    common = rng.normal(size=(*shape, world.groups))[..., group]
    return np.asarray(np.sqrt(world.correlation) * common + np.sqrt(1 - world.correlation) * own)


def _facts(rows: int, rng: np.random.Generator) -> FloatArray:
    return rng.random((rows, 12))
