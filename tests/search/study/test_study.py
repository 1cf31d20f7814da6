"""The study in its storage: budgets, proposals, resuming, what a change of the file means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.config import spaces
from search.config.study_config import StudyConfig
from search.errors import NoStudyError, StorageError, StudyChangedError
from search.results.rows import study_rows
from search.study import race
from search.study.readings import curve
from search.study.records import Key
from search.study.study import LOST, Assignment, Study
from tests.search.studies import by_rate, end, load, run


@pytest.fixture
def config(study: dict[str, Any], tmp_path: Path) -> StudyConfig:
    return load(study, tmp_path)


def test_every_method_gets_its_budget_the_default_first(config: StudyConfig) -> None:
    done = run(Study(config), by_rate)
    search = [a for a in done if a.key.stage == "search"]
    assert len(search) == len({a.key for a in search}) == 9
    for method in config.methods:
        mine = [a for a in search if a.key.method == method]
        assert [a.key.number for a in mine] == [0, 1, 2]
        assert (
            mine[0].config["learning_rate"]
            == {"head_only": 3e-3, "prompt_tuning": 3e-2, "p_tuning_v2": 1e-2}[method]
        )
    assert len({a.seed for a in done}) == len(done), "every trial has a seed of its own"


def test_finalists_are_retrained_with_fresh_seeds(config: StudyConfig) -> None:
    study = Study(config)
    done = run(study, by_rate)
    for method in config.methods:
        roles = race.promoted(study, method)
        mine = [a for a in done if a.key.method == method and a.key.stage == "finalists"]
        assert len(mine) == len(roles) + 2, "a seed for each, and one more for two of them"
        searched = {a.seed for a in done if a.key.stage == "search"}
        assert not searched & {a.seed for a in mine}
        assert race.choose(study, method) in roles
    assert study.finished()


def test_proposals_depend_on_the_results(study: dict[str, Any], tmp_path: Path) -> None:
    """After the start-up trials; with random scores in their place, the same seeds propose otherwise."""
    rates = {}
    for name in ("low", "high"):
        config = load(
            {**study, "study": name, "methods": {"prompt_tuning": {}}}, tmp_path, trials_per_method=15
        )
        sign = 1 if name == "low" else -1
        score = lambda a, sign=sign: (-sign * float(a.config["learning_rate"]), 5)  # noqa: E731
        done = [a for a in run(Study(config), score) if a.key.stage == "search"]
        rates[name] = [float(a.config["learning_rate"]) for a in done]
    assert rates["low"][:4] == rates["high"][:4], "the default and the start-up trials are the same"
    assert rates["low"][4:] != rates["high"][4:]
    late = {name: sorted(values[8:])[3] for name, values in rates.items()}
    assert late["low"] < late["high"], "what scores better is proposed more"


def test_a_search_does_not_follow_what_shows_nothing_learned(study: dict[str, Any], tmp_path: Path) -> None:
    """Scores near the trivial answer's are noise: the proposals do not depend on them. Those far above are not."""
    rates: dict[str, list[float]] = {}
    for name, height, sign in (("a", 0.01, 1), ("b", 0.01, -1), ("c", 0.3, 1), ("d", 0.3, -1)):
        config = load(
            {**study, "study": name, "methods": {"prompt_tuning": {}}}, tmp_path, trials_per_method=10
        )
        opened, rates[name] = Study(config), []
        while not isinstance(trial := opened.next(), str) and trial.key.stage == "search":
            place = math.log10(float(trial.config["learning_rate"]))
            end(opened, trial, 0.5 + sign * height * place / 3, trivial=0.5, standard_error=0.01)
            rates[name].append(place)
    assert rates["a"] == rates["b"]
    assert rates["c"][4:] != rates["d"][4:]


def test_the_same_seed_proposes_the_same(study: dict[str, Any], tmp_path: Path) -> None:
    found = []
    for folder in ("a", "b"):
        content = {**study, "output_dir": str(tmp_path / folder)}
        found.append([(a.config, a.seed) for a in run(Study(load(content, tmp_path)), by_rate)])
    assert found[0] == found[1]


def test_an_interrupted_trial_comes_first_under_its_number(config: StudyConfig) -> None:
    first = Study(config)
    ended, cut = first.next(), first.next()
    assert isinstance(ended, Assignment)
    assert isinstance(cut, Assignment)
    end(first, ended, 0.5)
    first.record_evaluation(cut.key, 2, {"validation": 0.4})
    resumed = Study(config)
    assert resumed.next() == cut
    assert list(curve(resumed.trial(cut.key))) == [2]
    assert resumed.trial(ended.key).state == TrialState.COMPLETE


def test_a_proposal_cut_short_keeps_its_number(config: StudyConfig) -> None:
    """The driver died between starting a trial and recording its parameters."""
    study = Study(config)
    waiting = study._trials["prompt_tuning", "search"].waiting()
    assert waiting is not None
    study._storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING)  # without its parameters
    resumed = Study(config)
    assignment = resumed.next()
    assert isinstance(assignment, Assignment)
    assert assignment.key == Key("prompt_tuning", "search", 0)
    assert assignment.config["learning_rate"] == 3e-2
    end(resumed, assignment, *by_rate(assignment))
    done = run(resumed, by_rate)
    assert len([a for a in done if a.key.stage == "search"]) == 8


def test_a_resumed_study_ends_as_one_that_was_not_interrupted(study: dict[str, Any], tmp_path: Path) -> None:
    whole = run(Study(load({**study, "study": "whole"}, tmp_path)), by_rate)
    config = load({**study, "study": "parts"}, tmp_path)
    parts = []
    while True:
        opened = Study(config)
        if isinstance(assignment := opened.next(), str):
            break
        end(opened, assignment, *by_rate(assignment))
        parts.append(assignment)
    assert [(a.key, a.config) for a in parts] == [(a.key, a.config) for a in whole]


def test_what_comes_next_waits_for_what_it_depends_on(config: StudyConfig) -> None:
    study = Study(config)
    running = [study.next() for _ in range(9)]
    assert study.next() == "wait"
    assert not study.finished()
    for assignment in running:
        assert isinstance(assignment, Assignment)
        end(study, assignment, 0.5)
    assert isinstance(study.next(), Assignment)


def test_failures_count_and_a_method_that_only_fails_has_no_finalist(config: StudyConfig) -> None:
    study = Study(config)
    done = run(study, lambda a: (None,) if a.key.method == "prompt_tuning" else by_rate(a))
    assert len([a for a in done if a.key.method == "prompt_tuning"]) == 3
    assert race.choose(study, "prompt_tuning") is None
    assert study.finished()


def test_more_trials_go_on_with_a_finished_study(study: dict[str, Any], tmp_path: Path) -> None:
    run(Study(load(study, tmp_path)), by_rate)
    longer = Study(load(study, tmp_path, trials_per_method=5))
    assert not longer.finished()
    assert len([a for a in run(longer, by_rate) if a.key.stage == "search"]) == 6


def test_other_settings_are_refused_and_named(study: dict[str, Any], tmp_path: Path) -> None:
    Study(load(study, tmp_path))
    changed = {**study, "training": {**study["training"], "max_steps": 8}}
    with pytest.raises(StudyChangedError, match=r"training.max_steps: was 6, is 8"):
        Study(load(changed, tmp_path))


def test_a_study_that_is_not_there_is_not_made(config: StudyConfig) -> None:
    with pytest.raises(NoStudyError, match="promptfront launch"):
        Study(config, must_exist=True)
    assert not (config.output_dir / "optuna.db").exists()


def test_a_storage_out_of_reach_is_said_without_its_password(study: dict[str, Any], tmp_path: Path) -> None:
    url = "postgresql://user:secret@127.0.0.1:1/none"
    with pytest.raises(StorageError) as caught:
        Study(load({**study, "tracking": {"storage": url}}, tmp_path))
    assert "secret" not in str(caught.value)


def test_a_study_whose_version_searched_less_goes_on(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trials lack hyperparameters, which then had their defaults."""
    config = load({**study, "methods": {"p_tuning_v2": {}}}, tmp_path, trials_per_method=8)
    whole = spaces.space("p_tuning_v2", {}, config.tasks)
    with monkeypatch.context() as patch:
        ranges = {name: range_ for name, range_ in whole.ranges.items() if name != "init"}
        less = spaces.Space({**whole.fixed, "init": "matched"}, ranges)
        patch.setattr(spaces, "space", lambda *given: less)
        before = Study(config)
        for _ in range(6):
            assignment = before.next()
            assert isinstance(assignment, Assignment)
            end(before, assignment, *by_rate(assignment))
    done = run(Study(config), by_rate)
    assert [a.key.stage for a in done] == ["search"] * 2 + ["finalists"] * 6
    trials = Study(config).of("p_tuning_v2", "search")
    assert ["init" in trial.params for trial in trials] == [False] * 6 + [True] * 2


def test_late_facts_outlive_the_trials_end(config: StudyConfig) -> None:
    study = Study(config)
    assignment = study.next()
    assert isinstance(assignment, Assignment)
    end(study, assignment, 0.5)
    study.record_trial_fact(assignment.key, "mlflow_run_id", "abc")
    assert Study(config).facts_of_trials("mlflow_run_id") == {assignment.key: "abc"}


def two_tasks(study: dict[str, Any], *weights: Any) -> dict[str, Any]:
    (task,) = study["tasks"]
    names = ("topics", "again")
    section = [{**task, "name": name} for name in names]
    for each, weight in zip(section, weights, strict=False):
        each["loss_weight"] = weight
    return {**study, "tasks": section}


def test_the_tasks_weights_are_searched_on_the_simplex(study: dict[str, Any], tmp_path: Path) -> None:
    done = run(Study(load(two_tasks(study), tmp_path)), by_rate)
    search = [assignment for assignment in done if assignment.key.stage == "search"]
    assert all(sum(assignment.loss_weights.values()) == pytest.approx(1) for assignment in done)
    assert all(min(assignment.loss_weights.values()) > 1 / 11 for assignment in done)
    first = [assignment for assignment in search if assignment.key.number == 0]
    assert [assignment.loss_weights for assignment in first] == [{"topics": 0.5, "again": 0.5}] * len(first)
    assert len({assignment.loss_weights["topics"] for assignment in search}) > len(search) / 2
    finalist = next(assignment for assignment in done if assignment.key.stage == "finalists")
    assert finalist.loss_weights in [
        assignment.loss_weights for assignment in search if assignment.key.method == finalist.key.method
    ]


def test_weights_of_the_study_file_are_normalized(study: dict[str, Any], tmp_path: Path) -> None:
    opened = Study(load(two_tasks(study, 3, 1), tmp_path))
    assignment = opened.next()
    assert isinstance(assignment, Assignment)
    assert assignment.loss_weights == {"topics": 0.75, "again": 0.25}
    assert not opened.loss_weights.ranges


def test_a_weight_may_be_a_list_or_a_range_beside_a_fixed_one(study: dict[str, Any], tmp_path: Path) -> None:
    done = run(Study(load(two_tasks(study, [1, 3], {"min": 1, "max": 2}), tmp_path)), by_rate)
    raw = {a.loss_weights["topics"] / a.loss_weights["again"] for a in done}
    assert all(0.5 <= ratio <= 3 for ratio in raw)


def test_objectives_have_names_for_optunas_own_tools(study: dict[str, Any], tmp_path: Path) -> None:
    config = load(study, tmp_path, measured_costs=["peak_memory_bytes"])
    Study(config)
    names = {s.study_name: s for s in optuna.get_all_study_summaries(config.storage_url)}
    for method in config.methods:
        searched = optuna.load_study(study_name=f"{config.study}/{method}", storage=config.storage_url)
        assert searched.metric_names == ["validation", "deployed_parameters", "peak_memory_bytes"]
        assert names[f"{config.study}/{method}/finalists"].directions == [
            optuna.study.StudyDirection.MAXIMIZE
        ]


@pytest.mark.parametrize("stage", ["search", "finalists"])
def test_what_an_earlier_version_lost_is_tried_again(config: StudyConfig, stage: str) -> None:
    """Same configuration, same seed, and the first try counts no more; a trial that failed by itself stays failed."""
    study = Study(config)
    lost: list[Assignment] = []
    while isinstance(found := study.next(), Assignment):
        if found.key.stage == stage and len(lost) < 2:
            error = f"{LOST} between two evaluations; the machine may be out of memory"
            study.tell(found.key, TrialState.FAIL, error=error if not lost else "diverged: nan")
            lost.append(found)
        else:
            end(study, found, *by_rate(found))
    again = Study(config)
    assert again.finished()
    assert again.retry_lost() == 1
    assert not again.finished()
    second = again.next()
    assert isinstance(second, Assignment)
    assert (second.config, second.seed) == (lost[0].config, lost[0].seed)
    end(again, second, *by_rate(second))
    while isinstance(found := again.next(), Assignment):  # a race may have another winner now
        end(again, found, *by_rate(found))
    assert again.replaced(lost[0].key)
    assert again.finished()
    assert again.retry_lost() == 0
    assert Study(config).retry_lost() == 0
    if stage == "search":
        assert all(again.planned(method) == 3 for method in config.methods)
        rows = study_rows(again, "done", {"backbone": {}, "tasks": []})["trials"]
        assert len(rows) == 9
        assert [row["state"] for row in rows].count("FAIL") == 1
