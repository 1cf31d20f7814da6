"""The commands that a report advises: the command line takes them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from dashboards.findings.provisional import another
from dashboards.report.report import build
from search.config import study_file
from tests.dashboards.studies import Rows, finalist

EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart.yaml"


def settings(rows: Rows) -> dict[str, str]:
    """The settings of the first step, once the study file has taken them."""
    rows["provenance"]["command"] = f"promptfront launch {EXAMPLE}"
    command = shlex.split(build(rows)["verdict"]["next"][0]["command"])
    assert command[:3] == ["promptfront", "launch", str(EXAMPLE)]
    assert set(command[3::2]) <= {"--set"}
    study_file.load(EXAMPLE, command[4::2])
    return dict(setting.split("=", 1) for setting in command[4::2])


def test_a_wider_learning_rate_is_a_setting(rows: Rows) -> None:
    """It is a range, so it needs quotes in a shell and none in YAML."""
    for trial in rows["trials"]:
        trial["config"]["learning_rate"] = 0.01
    rows["finalists"] = [f for f in rows["finalists"] if f["method"] in ("head_only", "p_tuning_v2")]
    rows["methods"] = [m for m in rows["methods"] if m["method"] in ("head_only", "p_tuning_v2")]
    rows["methods"][0]["space"]["learning_rate"]["high"] = 0.01
    rows["epsilon"] = 0.5
    found = settings(rows)
    assert "max: 0.1" in found["methods.head_only.learning_rate"]
    assert found["study"] == "quickstart-2"


def test_more_seeds_have_room(rows: Rows) -> None:
    for each in rows["finalists"]:
        each["runs"] = each["runs"][:2]
    rows["seeds"] = {"num_seeds": 2, "max_seeds": 3, "looks": [2, 3]}
    assert settings(rows) == {"finalists.num_seeds": "5", "finalists.max_seeds": "10"}


def test_what_failed_needs_another_study(rows: Rows) -> None:
    """A launch retries nothing that failed."""
    for run in finalist(rows, "head_only")["runs"]:
        run.update(state="FAIL", test=None, examples=None)
    assert settings(rows) == {"study": "quickstart-2"}
    assert build(rows)["verdict"]["next"][0]["why"] == "Mend the cause of the failures, then launch again"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", "a-2"), ("a-2", "a-3"), ("a-b", "a-b-2"), ("7", "7-2"), ("x" * 80, "x" * 78 + "-2")],
)
def test_the_next_version_of_a_study(rows: Rows, name: str, expected: str) -> None:
    rows["study"] = name
    assert another(rows) == expected  # type: ignore[arg-type]
