"""What `check` says of the room there is now, and of splits that are too small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.config.study_file import load
from search.errors import StudyFileError
from search.plan import check, memory, resources
from tests.search.conftest import write_study


def test_what_is_short_now_is_said_before_the_start(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free memory, the disk, and splits that cannot show anything; before, the machine's whole memory was compared."""
    config = load(write_study(study, tmp_path))
    assert not [
        note for note in check.check(config, probe=False).warnings if "memory" in note or "disk" in note
    ]
    monkeypatch.setattr(memory, "free", lambda: int(0.9 * 2**30))
    monkeypatch.setattr(memory, "largest_other", lambda: "process 7 of ada holds 21.0 GiB")
    monkeypatch.setattr(resources, "at_once", lambda *_: 4)
    study["tasks"][0] |= {"max_train_samples": 9, "max_test_samples": 25}
    found = check.check(load(write_study(study, tmp_path)), probe=False).warnings
    (said,) = (note for note in found if "memory" in note)
    assert said.endswith(
        "0.9 GiB are free (process 7 of ada holds 21.0 GiB): set cluster.max_concurrent_trials: 1"
    )
    assert "task topics: 9 rows of train show little: use 10 or more" in found
    assert "task topics: 25 rows of test show little: use 30 or more" in found


def test_an_output_that_is_shut_is_a_problem(study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = load(write_study({**study, "output_dir": str(tmp_path / "file" / "outputs")}, tmp_path))
    with pytest.raises(
        StudyFileError, match=r"output_dir: must be a folder that can be written to; .*file is not a folder"
    ):
        check.check(config, probe=False)
