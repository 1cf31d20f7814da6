"""What the terminal says of extra seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.driver import more_seeds
from search.study.study import Study
from tests.search.studies import by_rate, load, run, scored


@pytest.fixture
def opened(study: dict[str, Any], tmp_path: Path) -> Study:
    """A study of three methods that are scored with one seed; looks at 1, 2 and 4."""
    made = Study(load({**study, "finalists": {"num_seeds": 1, "max_seeds": 4}}, tmp_path))
    run(made, by_rate)
    scored(made)
    return made


def add(study: Study, methods: list[str] | None) -> tuple[bool, str]:
    """With None nothing may be asked."""

    def undecided() -> list[str]:
        assert methods is not None
        return methods

    console = Console(width=200)
    with console.capture() as said:
        added = more_seeds.add(study, undecided, console)
    run(study, by_rate)
    scored(study)
    return added, said.get()


def test_every_decision_is_said(opened: Study) -> None:
    names = list(opened.config.methods)
    assert add(opened, names[:2]) == (
        True,
        "Cannot tell head_only and prompt_tuning apart with 1 seed: training them with 1 more ...\n",
    )
    assert add(opened, names) == (
        True,
        "Cannot tell head_only, prompt_tuning and p_tuning_v2 apart yet: training each with more seeds, 4 in all ...\n",
    )
    said = "Seeds of the finalists: 4 for head_only, prompt_tuning and p_tuning_v2.\n"
    assert add(opened, None) == (False, said)


def test_without_extra_seeds_nothing_is_said(opened: Study) -> None:
    assert add(opened, []) == (False, "")
    assert add(opened, None) == (False, "")


def test_one_method_may_need_more(opened: Study) -> None:
    added, said = add(opened, ["p_tuning_v2"])
    assert added
    assert said == "Cannot tell p_tuning_v2 from the others with 1 seed: training it with 1 more ...\n"
    assert add(opened, []) == (
        False,
        "Seeds of the finalists: 2 for p_tuning_v2, 1 for head_only and prompt_tuning.\n",
    )
