"""The benchmark of the search: its surfaces, and that every search spends the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import search_quality
from benchmarks.search_quality import Tried
from benchmarks.searches import SLOTS, Ours, Random, Rays
from benchmarks.surface import EVAL_STEPS, MAX_STEPS, METHODS, deployed, draw, shuffled
from search.seeds import derive

TRAININGS = 28  # as many by turns as there are slots, to the end
BUDGET = TRAININGS * MAX_STEPS


def at_best(method: str, tokens: int = 100) -> dict[str, Any]:
    shape = draw(0).shapes[method]
    rate = 10 ** (shape.rate + shape.shift * (np.log10(tokens) - 1))
    return {"learning_rate": rate, "num_virtual_tokens": tokens}


def test_a_configuration_is_best_at_its_rate_and_diverges_far_above() -> None:
    surface = draw(0)
    for method in ("prompt_tuning", "p_tuning_v2"):
        best, shape = at_best(method), surface.shapes[method]
        assert surface.true(method, best) == pytest.approx(shape.ceiling)
        for factor in (0.5, 2.0):
            near = {**best, "learning_rate": factor * best["learning_rate"]}
            assert surface.chance < surface.true(method, near) < shape.ceiling
        far = {**best, "learning_rate": 10**1.0 * best["learning_rate"]}
        assert surface.true(method, far) == surface.chance
        few = at_best(method, tokens=5)
        assert surface.true(method, few) == pytest.approx(
            shape.ceiling - shape.gain * (shape.enough - np.log10(5))
        )
        curve = [surface.true(method, best, step) for step in range(0, MAX_STEPS + 1, EVAL_STEPS)]
        assert curve[0] == surface.chance
        assert curve == sorted(curve)


def test_what_is_measured_is_true_on_average() -> None:
    """Over surfaces that differ in their rows alone, and seeds of trials."""
    config, truth = at_best("p_tuning"), draw(0).true("p_tuning", at_best("p_tuning"))
    shapes = draw(0).shapes
    surfaces = [search_quality.Surface(seed, shapes) for seed in range(300)]
    validation = [s.validation("p_tuning", config, MAX_STEPS, derive(s.seed, "trial")) for s in surfaces]
    test = [s.test("p_tuning", config, derive(s.seed, "trial")).mean() for s in surfaces]
    for scores in (validation, test):
        assert np.mean(scores) == pytest.approx(truth, abs=4 * np.std(scores) / np.sqrt(len(scores)))
    assert np.std(validation) == pytest.approx(np.sqrt(truth * (1 - truth) / 500 + 0.005**2), rel=0.2)


def test_on_shuffled_labels_nothing_differs() -> None:
    surface = shuffled(0)
    scores = {surface.true(method, {"learning_rate": rate}) for method in METHODS for rate in (1e-4, 1e-1)}
    assert scores == {0.25}
    assert surface.test("p_tuning", {"learning_rate": 0.1}, 0).mean() == pytest.approx(0.25, abs=0.06)


def test_a_planted_method_is_above_all_others() -> None:
    ceilings = {
        method: shape.ceiling for method, shape in draw(3, planted="p_tuning", margin=0.05).shapes.items()
    }
    planted = ceilings.pop("p_tuning")
    assert planted == pytest.approx(max(ceilings.values()) + 0.05)


@pytest.mark.parametrize("name", ["ours", "random", "rays", "rays with costs"])
def test_every_search_trains_the_same_steps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = {
        "ours": lambda: Ours(0, tmp_path, 500, 0.5, trials_per_method=20),
        "random": lambda: Random(0),
        "rays": lambda: Rays(0, costs=False),
        "rays with costs": lambda: Rays(0, costs=True),
    }[name]()
    steps: dict[str, int] = {}
    told: list[str] = []
    report, end = search.report, search.end
    monkeypatch.setattr(
        search, "report", lambda trial, step, *rest: steps.update({trial: step}) or report(trial, step, *rest)
    )
    monkeypatch.setattr(search, "end", lambda trial: told.append(trial) or end(trial))
    done, begun, spent = search_quality.spend(search, draw(0), BUDGET)
    assert spent == BUDGET == sum(steps.values())
    assert len(done) == sum(step == MAX_STEPS for step in steps.values()) > 0
    assert begun - SLOTS <= len(told) == len(set(told)) <= begun
    if name == "random":
        assert begun == TRAININGS
    else:
        assert begun > TRAININGS, "early stopping buys trials"


def test_hypervolume_counts_what_is_recommended() -> None:
    """A front of two by validation; the third is beaten on it, whatever it truly scores."""
    surface = draw(0)
    cheap, dear = at_best("prompt_tuning", tokens=10), at_best("prompt_tuning", tokens=100)
    hidden = at_best("prompt_tuning", tokens=50)
    tried = [
        Tried("prompt_tuning", cheap, 0.8),
        Tried("prompt_tuning", dear, 0.9),
        Tried("prompt_tuning", hidden, 0.7),
    ]
    low, high = (surface.true("prompt_tuning", config) for config in (cheap, dear))
    costs = [np.log10(deployed("prompt_tuning", config)) for config in (cheap, dear)]
    expected = (low - 0.6) * (6 - costs[0]) + (high - low) * (6 - costs[1])
    assert search_quality.hypervolume(tried, surface) == pytest.approx(expected)
    assert search_quality.best(tried, surface) == high
