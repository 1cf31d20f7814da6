"""Extra seeds: the looks, decisions that are kept, and what a report has in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.config.finalists_config import FinalistsConfig
from search.config.study_config import StudyConfig
from search.errors import StudyFileError
from search.study import extra_seeds, finalists, race
from search.study.study import Assignment, Study
from tests.search.studies import by_rate, end, load, run, scored

TWO = ["prompt_tuning", "p_tuning_v2"]


def config(study: dict[str, Any], folder: Path, trials: int = 3, **given: Any) -> StudyConfig:
    content = {**study, "finalists": {"num_seeds": 4, "max_seeds": 10, **given}}
    return load(content, folder, trials_per_method=trials)


@pytest.fixture
def first_look(study: dict[str, Any], tmp_path: Path) -> Study:
    """A study whose finalists are scored with four seeds; looks at 4, 8 and 10."""
    opened = Study(config(study, tmp_path))
    run(opened, by_rate)
    assert not extra_seeds.undecided_yet(opened), "nothing is scored yet"
    scored(opened)
    return opened


def counts(study: Study) -> dict[str, int]:
    """The runs of each method's chosen finalist."""
    found = {}
    for method in study.config.methods:
        chosen = race.choose(study, method)
        assert chosen is not None
        found[method] = len(finalists.runs(study, method)[chosen])
    return found


@pytest.mark.parametrize(
    ("num_seeds", "max_seeds", "looks"),
    [
        (5, 5, (5,)),
        (5, 6, (5, 6)),
        (5, None, (5, 10)),
        (5, 12, (5, 10, 12)),
        (1, 4, (1, 2, 4)),
    ],
)
def test_looks(num_seeds: int, max_seeds: int | None, looks: tuple[int, ...]) -> None:
    assert FinalistsConfig(num_seeds=num_seeds, max_seeds=max_seeds).looks == looks


def test_the_setting_has_a_default_and_a_least_value(study: dict[str, Any], tmp_path: Path) -> None:
    assert config(study, tmp_path, max_seeds=None).finalists.most_seeds == 8
    assert config(study, tmp_path, max_seeds=5).finalists.most_seeds == 5
    with pytest.raises(
        StudyFileError, match=r"finalists.max_seeds.*must be at least num_seeds \(4\), or null, not 3"
    ):
        config(study, tmp_path, max_seeds=3)


def test_undecided_methods_get_the_seeds_of_each_look(first_look: Study) -> None:
    assert extra_seeds.undecided_yet(first_look)
    assert extra_seeds.decide(first_look, TWO) == 8
    assert not first_look.finished()
    assert len(run(first_look, by_rate)) == 8
    scored(first_look)
    assert extra_seeds.undecided_yet(first_look)
    assert extra_seeds.decide(first_look, TWO[:1]) == 10
    assert len(run(first_look, by_rate)) == 2
    scored(first_look)
    assert not extra_seeds.undecided_yet(first_look), "there is no other look"
    assert counts(first_look) == {"head_only": 4, "prompt_tuning": 10, "p_tuning_v2": 8}


def test_a_decision_is_taken_once(first_look: Study) -> None:
    assert extra_seeds.decide(first_look, []) is None
    assert first_look.finished()
    opened = Study(first_look.config)
    assert not extra_seeds.undecided_yet(opened)
    assert opened.finished()


def test_a_decision_is_kept_before_anything_runs(first_look: Study) -> None:
    extra_seeds.decide(first_look, TWO)
    cut = first_look.next()
    assert isinstance(cut, Assignment)
    first_look.record_evaluation(cut.key, 2, {"validation": 0.4})
    opened = Study(first_look.config)
    assert not extra_seeds.undecided_yet(opened)
    done = run(opened, by_rate)
    assert done[0] == cut
    assert len(done) == 8
    assert counts(opened) == {"head_only": 4, "prompt_tuning": 8, "p_tuning_v2": 8}


@pytest.mark.parametrize("before", [[], TWO])
def test_more_seeds_or_trials_are_decided_on_anew(
    study: dict[str, Any], tmp_path: Path, first_look: Study, before: list[str]
) -> None:
    extra_seeds.decide(first_look, before)
    run(first_look, by_rate)
    scored(first_look)
    if before:
        extra_seeds.decide(first_look, [])
    larger = Study(config(study, tmp_path, max_seeds=20))
    assert larger.finished()
    assert extra_seeds.undecided_yet(larger)
    look = 16 if before else 8
    assert extra_seeds.decide(larger, ["head_only"]) == look
    run(larger, by_rate)
    assert counts(larger) == dict.fromkeys(TWO, 8 if before else 4) | {"head_only": look}
    scored(larger)
    extra_seeds.decide(larger, [])
    longer = Study(config(study, tmp_path, trials=6, max_seeds=20))
    run(longer, lambda assignment: (2.0, 1) if assignment.key.number > 2 else by_rate(assignment))
    scored(longer)
    assert extra_seeds.undecided_yet(longer), "other configurations were chosen"


def test_fewer_seeds_are_asked_for_again(study: dict[str, Any], tmp_path: Path, first_look: Study) -> None:
    extra_seeds.decide(first_look, TWO)
    run(first_look, by_rate)
    scored(first_look)
    opened = Study(config(study, tmp_path, max_seeds=4))
    assert set(counts(opened).values()) == {4}
    assert not extra_seeds.undecided_yet(opened)


def test_a_report_has_extra_seeds_once_all_are_scored(first_look: Study) -> None:
    extra_seeds.decide(first_look, TWO)
    four = dict.fromkeys(first_look.config.methods, 4)
    assert extra_seeds.reported_seeds(first_look) == four
    for _ in range(4):
        assignment = first_look.next()
        assert isinstance(assignment, Assignment)
        end(first_look, assignment, 0.5)
    scored(first_look)
    assert extra_seeds.reported_seeds(first_look) == four, "the other method has none yet"
    run(first_look, by_rate)
    assert extra_seeds.reported_seeds(first_look) == four
    scored(first_look)
    assert extra_seeds.reported_seeds(first_look) == {**four, **dict.fromkeys(TWO, 8)}
    extra_seeds.decide(first_look, TWO)
    assert extra_seeds.reported_seeds(first_look) == {**four, **dict.fromkeys(TWO, 8)}


def test_nothing_is_decided_without_test_data(study: dict[str, Any], tmp_path: Path) -> None:
    study["tasks"][0]["data"]["test_split"] = None
    opened = Study(config(study, tmp_path))
    run(opened, by_rate)
    assert opened.finished()
    assert not extra_seeds.undecided_yet(opened)


def test_a_study_of_an_earlier_version_gets_extra_seeds_on_request(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(race, "version", lambda study, method: None)
        made = Study(config(study, tmp_path, max_seeds=None))
        run(made, by_rate)
        scored(made)
    assert not extra_seeds.undecided_yet(Study(made.config))
    assert extra_seeds.looks_of(Study(made.config)) == (4,)
    larger = Study(config(study, tmp_path, max_seeds=10))
    assert extra_seeds.undecided_yet(larger)
    assert extra_seeds.decide(larger, TWO) == 8
    run(larger, by_rate)
    assert counts(larger) == {"head_only": 4, "prompt_tuning": 8, "p_tuning_v2": 8}
