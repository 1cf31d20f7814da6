"""What a method tries next: samplers, nothing twice, the best of an earlier study first, who gets the trials."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from methods.space import Choice, Float, Int
from search.config import study_file
from search.errors import NoStudyError, StudyChangedError, StudyFileError
from search.plan import check
from search.strategy import allocation, grid, sampling
from search.study import identity
from search.study.records import Key
from search.study.study import Assignment, Study
from tests.search.studies import by_rate, end, load, run

FINITE = {
    "learning_rate": [0.01, 0.03],
    "head_learning_rate": 0.003,
    "num_virtual_tokens": {"min": 2, "max": 4},
    "init": ["vocab", "labels"],
}


def one_method(study: dict[str, Any], hyperparameters: dict[str, Any]) -> dict[str, Any]:
    return {**study, "methods": {"prompt_tuning": hyperparameters}}


def searched(done: list[Assignment]) -> list[Assignment]:
    return [assignment for assignment in done if assignment.key.stage == "search"]


def configs(done: list[Assignment]) -> list[str]:
    return [json.dumps([a.config, a.loss_weights], sort_keys=True) for a in searched(done)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_restart_proposes_what_it_would_have_proposed(
    sampler: str, study: dict[str, Any], tmp_path: Path
) -> None:
    content = one_method(study, {})
    whole = run(
        Study(load({**content, "study": "whole"}, tmp_path, sampler=sampler, trials_per_method=9)), by_rate
    )
    config = load({**content, "study": "parts"}, tmp_path, sampler=sampler, trials_per_method=9)
    parts: list[Assignment] = []
    while not isinstance(assignment := (opened := Study(config)).next(), str):
        end(opened, assignment, *by_rate(assignment))
        parts.append(assignment)
    assert configs(parts) == configs(whole)
    assert len(set(configs(whole))) == 9


def test_a_gaussian_process_looks_at_the_results(study: dict[str, Any], tmp_path: Path) -> None:
    fixed = {"num_virtual_tokens": 4, "init": "vocab", "placement": "before", "readout": "mean"}
    content = one_method(study, {**fixed, "learning_rate": {"min": 0.001, "max": 0.1}})
    means = {}
    for name, sign in (("low", -1), ("high", 1)):
        opened = Study(load({**content, "study": name}, tmp_path, sampler="gp", trials_per_method=4))
        score = lambda a, sign=sign: (sign * float(a.config["learning_rate"]), 5)  # noqa: E731
        rates = [float(a.config["learning_rate"]) for a in searched(run(opened, score))]
        means[name] = sum(rates) / len(rates)
    assert means["low"] < means["high"]


def test_generations_of_nsga2_outlive_a_restart(study: dict[str, Any], tmp_path: Path) -> None:
    config = load(one_method(study, {}), tmp_path, sampler="nsga2", trials_per_method=20)
    while not isinstance(assignment := (opened := Study(config)).next(), str):
        end(opened, assignment, *by_rate(assignment))
    generations = [
        t.system_attrs.get("NSGAIISampler:generation") for t in opened.of("prompt_tuning", "search")
    ]
    assert max(generation for generation in generations if generation is not None) >= 2


def test_a_grid_is_exhausted_and_the_search_ends(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(load(one_method(study, FINITE), tmp_path, sampler="grid", trials_per_method=50))
    done = searched(run(opened, by_rate))
    assert len(done) == len(set(configs(done))) == 2 * 3 * 2
    assert opened.finished()
    early = opened.ended_early("prompt_tuning")
    assert early is not None
    assert early["tried"] == 12
    assert Study(opened.config).next() == "done", "it is kept"


def test_what_does_not_apply_multiplies_nothing(study: dict[str, Any], tmp_path: Path) -> None:
    """A mix has no top_k: 3 configurations that pick and 1 that mixes, not 6."""
    fixed = {"learning_rate": 0.01, "head_learning_rate": 0.01, "num_virtual_tokens": 2, "pool_size": 5}
    pool = {**fixed, "selection": ["top_k", "mix"], "top_k": {"min": 1, "max": 3}}
    config = load({**study, "methods": {"prompt_pool": pool}}, tmp_path, sampler="grid", trials_per_method=50)
    assert check.check(config, probe=False).methods[0].trials == 4
    done = searched(run(Study(config), by_rate))
    assert len(set(configs(done))) == len(done) == 4
    assert [a.config.get("top_k") for a in done if a.config["selection"] == "mix"] == [None]


def test_a_grid_of_a_range_is_refused_with_its_name(study: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        StudyFileError, match=r"methods\.prompt_tuning\.learning_rate: is a range .* needs a list"
    ):
        load(study, tmp_path, sampler="grid")
    twice = {**study, "tasks": [{**study["tasks"][0], "name": name} for name in ("a", "b")]}
    with pytest.raises(StudyFileError, match=r"tasks\.1\.loss_weight: is a range"):
        load({**twice, "methods": {"prompt_tuning": FINITE}}, tmp_path, sampler="grid")


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_nothing_is_tried_twice(sampler: str, study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(load(one_method(study, FINITE), tmp_path, sampler=sampler, trials_per_method=50))
    done = run(opened, by_rate)
    assert len(configs(done)) == len(set(configs(done))) == 12
    assert len(done) > 12, "finalists are retrained all the same"


def test_of_what_does_not_vary_one_trial_is_enough(study: dict[str, Any], tmp_path: Path) -> None:
    content = {
        **study,
        "methods": {"head_only": {"learning_rate": 0.01, "readout": "mean"}, "prompt_tuning": {}},
    }
    opened = Study(load(content, tmp_path, trials_per_method=4))
    assert not opened.spaces["head_only"].ranges
    counts = Counter(assignment.key.method for assignment in searched(run(opened, by_rate)))
    assert counts == {"head_only": 1, "prompt_tuning": 4}, "an equal budget is one that nobody exceeds"


def test_a_grid_visits_every_point_once() -> None:
    ranges = {"a": Int(1, 7), "b": Choice(("x", "y")), "c": Choice((True, False))}
    points = [tuple(point.values()) for point in grid.points(ranges)]
    assert len(points) == len(set(points)) == grid.size(ranges) == 28
    assert {a for a, *_ in points[:10]} >= {1, 2, 4, 6}, "a part of it covers the whole"
    assert grid.size({"a": Float(0, 1)}) is None


def test_the_samplers_copy_stays_small_and_keeps_the_best(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_BEST", 4)
    monkeypatch.setattr(sampling, "_LATEST", 6)
    opened = Study(load(one_method(study, {}), tmp_path, trials_per_method=40))
    run(opened, lambda a: (1 - a.key.number / 100, 5))
    known = opened._proposals["prompt_tuning"]._known
    assert len(known) <= 12
    assert {0, 1, 2, 3} < set(known), "the best are the first here"
    assert 39 in known


def test_a_measured_cost_is_an_objective(study: dict[str, Any], tmp_path: Path) -> None:
    config = load(one_method(study, {}), tmp_path, measured_costs=["seconds", "peak_memory_bytes"])
    opened = Study(config)
    for facts in ({"seconds": 3.0, "peak_memory_bytes": 7}, {"seconds": 2.0}):
        assignment = opened.next()
        assert isinstance(assignment, Assignment)
        opened.tell(assignment.key, TrialState.COMPLETE, 0.5, deployed_parameters=10, **facts)
    first, second = opened.of("prompt_tuning", "search")[:2]
    assert first.values == [0.5, 10, 3.0, 7]
    assert second.values == [0.5, 10, 2.0, 7], "what was not measured speaks neither for it nor rules it out"
    assert second.user_attrs["unmeasured"] == ["peak_memory_bytes"]
    with pytest.raises(StudyChangedError, match=r"search.measured_costs: was .*seconds.*, is \[\]"):
        Study(load(one_method(study, {}), tmp_path))


@pytest.mark.parametrize("form", ["name", "folder", "url"])
def test_the_best_of_an_earlier_study_go_first(form: str, study: dict[str, Any], tmp_path: Path) -> None:
    before = Study(load({**one_method(study, {}), "study": "before"}, tmp_path, trials_per_method=12))
    run(before, by_rate)
    (before.config.folder).mkdir(parents=True, exist_ok=True)
    (before.config.folder / "config.yaml").write_text(study_file.dump(before.config))
    source = {
        "name": "before",
        "folder": str(before.config.folder),
        "url": f"{before.config.storage_url}#before",
    }[form]
    content = {**one_method(study, {}), "study": "after"}
    if form != "name":
        content["output_dir"] = str(tmp_path / "elsewhere")
    opened = Study(load(content, tmp_path, trials_per_method=12, **{"from": source}))
    done = searched(run(opened, by_rate))
    best = sorted(before.of("prompt_tuning", "search"), key=lambda t: (-t.values[0], t.values[1], t.number))
    expected = [trial for trial in best[:3] if trial.number != 0]
    origins = [opened.trial(a.key).user_attrs.get("origin") for a in done]
    assert origins[: len(expected) + 2] == [
        None,  # the published default
        *(f"before/prompt_tuning:{trial.number}" for trial in expected),
        None,
    ]
    assert done[1].config == expected[0].user_attrs["config"]
    assert len(done) == 12


def test_what_lies_outside_the_present_space_is_left_out(study: dict[str, Any], tmp_path: Path) -> None:
    before = Study(load({**one_method(study, {}), "study": "before"}, tmp_path, trials_per_method=8))
    run(before, by_rate)
    narrow = one_method(study, {"learning_rate": {"min": 1.0, "max": 2.0}})
    opened = Study(load({**narrow, "study": "after"}, tmp_path, **{"from": "before"}))
    assert not [t for t in opened.of("prompt_tuning", "search") if "origin" in t.user_attrs]
    with pytest.raises(
        NoStudyError, match=r"search.from: there is no study 'befor' .*there are: after, before"
    ):
        Study(load({**narrow, "study": "third"}, tmp_path, **{"from": "befor"}))


def test_a_bound_follows_the_latest_rise() -> None:
    assert allocation.bound([0.5, 0.5, 0.6, 0.7], left=10) == pytest.approx(0.7 + 0.1 * 10)
    assert allocation.bound([0.5, 0.7, None, 0.6], left=10) == pytest.approx(0.7), "it has not risen lately"
    assert allocation.bound([None, None], left=10) is None


def test_only_who_cannot_reach_the_leader_is_out() -> None:
    scores = {"flat": [0.5] * 4, "rising": [0.4, 0.4, 0.4, 0.5], "near": [0.895] * 4, "leader": [0.9] * 4}
    found = allocation.eliminated(scores, trials_per_method=8, left=16, epsilon=0.01)
    assert set(found) == {"flat"}
    assert found["flat"].leader == "leader"
    assert not allocation.eliminated({**scores, "flat": [0.5] * 3}, 8, 16, 0.01), "it has its half first"
    assert set(allocation.eliminated(scores, 8, 1, 0.01)) == {"flat", "rising"}


def test_adaptive_allocation_gives_the_trials_to_those_in_the_race(
    study: dict[str, Any], tmp_path: Path
) -> None:
    scores = {"head_only": 0.5, "prompt_tuning": 0.9, "p_tuning_v2": 0.899}
    config = load(study, tmp_path, allocation="adaptive", trials_per_method=6)
    opened = Study(config)
    done = searched(run(opened, lambda a: (scores[a.key.method] + a.key.number / 1e6, 5)))
    counts = Counter(assignment.key.method for assignment in done)
    assert counts == {"head_only": 3, "prompt_tuning": 8, "p_tuning_v2": 7}
    assert sum(counts.values()) == 18, "the same in all"
    early = opened.ended_early("head_only")
    assert early is not None
    assert early["leader"] == "prompt_tuning"
    assert "below the 0.900 of prompt_tuning" in early["reason"]
    assert Study(config).ended_early("head_only") == early
    assert opened.finished()


def test_a_limit_of_trials(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(load(study, tmp_path, max_trials=5))
    running = [opened.next() for _ in range(5)]
    assert opened.next() == "wait"
    for assignment in running:
        assert isinstance(assignment, Assignment)
        end(opened, assignment, 0.5)
    assert opened.next() == "done"
    assert opened.out_of_trials
    assert not opened.finished()
    raised = Study(load(study, tmp_path, max_trials=6))
    assert isinstance(raised.next(), Assignment)
    assert raised.next() == "wait"


def test_a_storage_of_before_is_opened(study: dict[str, Any], tmp_path: Path) -> None:
    """Two directions, the default enqueued, an identity without a word of the search."""
    config = load(one_method(study, {}), tmp_path)
    config.output_dir.mkdir()
    old = optuna.create_study(
        study_name="tiny/prompt_tuning", storage=config.storage_url, directions=["maximize", "minimize"]
    )
    facts = identity.identity(config, "prompt_tuning")
    assert set(facts) == {"model", "tasks", "training", "seed", "space"}
    old.set_user_attr("identity", facts)
    old.enqueue_trial({"learning_rate": 0.05})
    opened = Study(config)
    assignment = opened.next()
    assert isinstance(assignment, Assignment)
    assert assignment.key == Key("prompt_tuning", "search", 0)
    assert assignment.config["learning_rate"] == 0.05
