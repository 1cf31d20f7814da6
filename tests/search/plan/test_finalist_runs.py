"""How many finalists `check` plans, without and with extra seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.cli import plan_table
from search.config.study_file import load
from search.plan import check
from tests.search.conftest import write_study


@pytest.mark.parametrize(
    ("overrides", "runs", "shown"),
    [
        ((), (5, 7), "Finalists: 15 runs or fewer; with extra seeds (finalists.max_seeds: 4) 21."),
        (
            ("finalists.num_seeds=5",),
            (8, 13),
            "24 runs or fewer; with extra seeds (finalists.max_seeds: 10) 39.",
        ),
        (("finalists.num_seeds=5", "finalists.max_seeds=5"), (8, 8), "Finalists: 24 runs or fewer."),
        (("finalists.num_seeds=1", "finalists.max_seeds=1"), (3, 3), "Finalists: 9 runs or fewer."),
        (("finalists.default=true",), (7, 9), "max_seeds: 4) 27."),
        (("search.trials_per_method=9", "finalists.num_seeds=5"), (9, 14), "Finalists: 27 runs or fewer"),
        (("search.trials_per_method=1", "finalists.num_seeds=5"), (5, 10), "max_seeds: 10) 30."),
    ],
)
def test_the_runs_of_the_second_stage_are_counted(
    study: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    overrides: tuple[str, ...],
    runs: tuple[int, int],
    shown: str,
) -> None:
    made = check.check(load(write_study(study, tmp_path), overrides), probe=False)
    assert {method.finalist_runs for method in made.methods} == {runs}
    plan_table.render(made, Console(width=200))
    assert shown in capsys.readouterr().out
