"""Checkpoints in a bucket: a server of the S3 protocol, which can go away and come back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import FileSystem

from search.config import places, study_file
from search.config.places import under
from search.config.study_config import StudyConfig
from search.errors import StudyFileError
from search.job import Job, Report
from search.study.records import Key
from search.study.study import Assignment
from search.training import checkpoint_folder, engine, scores_on_test
from search.training.checkpoint_folder import CheckpointFolder, CheckpointFolderError
from tests.search.conftest import write_study
from tests.search.launches import assert_whole, progress, run, start, trials, wait_until
from tests.search.servers import Bucket


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in Bucket.KEYS.items():
        monkeypatch.setenv(name, value)
    server = Bucket()
    yield server
    server.stop()


def load(study: dict[str, Any], folder: Path, place: str) -> StudyConfig:
    return study_file.load(write_study({**study, "tracking": {"checkpoints": place}}, folder))


def job(config: StudyConfig) -> Job:
    key = Key("prompt_tuning", "search", 0)
    return Assignment(key, {}, {"topics": 1.0}, seed=0).job(config)


class Killed(Exception):
    pass


def test_a_trial_goes_on_from_a_bucket(study: dict[str, Any], tmp_path: Path, bucket: Bucket) -> None:
    config = load(study, tmp_path, bucket.uri)

    def until_step_4(report: Report) -> None:
        if report.step == 4:
            raise Killed

    with pytest.raises(Killed):
        engine.train(job(config), until_step_4)
    reports: list[Report] = []
    engine.train(job(config), reports.append)
    assert [(report.step, report.resumed) for report in reports] == [(4, True), (6, False)]
    kept = "tiny/prompt_tuning-000/step-{:08d}.safetensors"
    assert bucket.names() == [kept.format(4), kept.format(6)], "the last two"
    assert reports[-1].checkpoint == bucket.uri.replace("kept?", f"kept/{kept.format(6)}?")

    here = job(load(study, tmp_path, str(tmp_path / "here")))
    elsewhere: list[Report] = []
    engine.train(here, elsewhere.append)
    assert [report.loss for report in elsewhere][-2:] == [report.loss for report in reports]


def test_a_damaged_one_in_a_bucket_costs_one_interval(
    study: dict[str, Any], tmp_path: Path, bucket: Bucket
) -> None:
    config = load(study, tmp_path, bucket.uri)
    whole: list[Report] = []
    engine.train(job(config), whole.append)
    system, path = FileSystem.from_uri(whole[-1].checkpoint)
    with system.open_output_stream(path) as file:
        file.write(b"\0" * 100)
    reports: list[Report] = []
    engine.train(job(config), reports.append)
    assert [(report.step, report.resumed) for report in reports] == [(4, True), (6, False)]


def test_a_bucket_that_is_away_is_no_missing_checkpoint(
    study: dict[str, Any], tmp_path: Path, bucket: Bucket
) -> None:
    """It would be trained anew from its first step, and nobody would know why."""
    config = load(study, tmp_path, bucket.uri)
    engine.train(job(config), lambda report: None)
    bucket.stop()
    with pytest.raises(CheckpointFolderError, match="cannot be read from s3://bucket/kept/tiny"):
        engine.train(job(config), lambda report: None)


def test_check_writes_to_the_bucket_and_leaves_nothing(
    study: dict[str, Any], tmp_path: Path, bucket: Bucket
) -> None:
    load(study, tmp_path, bucket.uri)
    code, said = run("check", "study.yaml", cwd=tmp_path)
    assert code == 0, said
    assert bucket.names() == []
    code, said = run(
        "check",
        "study.yaml",
        "--set",
        f"tracking.checkpoints={bucket.uri.replace('bucket', 'none')}",
        cwd=tmp_path,
    )
    assert code == 5
    assert "checkpoints cannot be written to s3://none/kept/tiny" in " ".join(said.split())
    with pytest.raises(CheckpointFolderError, match="cannot be kept in ftp://host/path/tiny"):
        checkpoint_folder.try_out(load(study, tmp_path, "ftp://host/path"))


@pytest.mark.release
@pytest.mark.timeout(400)
def test_a_study_whose_bucket_goes_away_stops_and_goes_on_when_it_is_back(
    study: dict[str, Any], tmp_path: Path, bucket: Bucket
) -> None:
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in ("head_only", "prompt_tuning")}
    study["training"] = {**study["training"], "max_steps": 200, "eval_steps": 20}
    study["search"] = {"trials_per_method": 2, "early_stopping": False}
    load(study, tmp_path, bucket.uri)
    process = start("launch", "study.yaml", cwd=tmp_path)
    wait_until(progress(tmp_path), process)
    bucket.stop()
    said = tmp_path / "launch.log"
    assert process.wait(200) == 5, said.read_text()
    assert "launch again to continue" in " ".join(said.read_text().split())
    ended = {where for where, each in trials(tmp_path).items() if each.state.is_finished()}
    bucket.start()  # it has forgotten what was in it: trials that had not ended begin again
    code, output = run("launch", "study.yaml", cwd=tmp_path)
    assert code == 0, output
    assert_whole(tmp_path, ("head_only", "prompt_tuning"), each=2)
    assert ended <= set(trials(tmp_path))
    assert not (tmp_path / "outputs/tiny/checkpoints").exists()
    report = json.loads((tmp_path / "outputs/tiny/report/report.json").read_text())
    assert all(
        each["checkpoint"].startswith("s3://bucket/kept/tiny/")
        for each in report["trials"]
        if each["checkpoint"]
    )
    assert report["trials"]
    code, output = run("export", "tiny", "--method", "prompt_tuning", cwd=tmp_path)
    assert code == 0, output


def test_the_options_of_a_uri_stay_at_its_end() -> None:
    assert under("s3://bucket/a/?region=b", "study", "trial") == "s3://bucket/a/study/trial?region=b"
    assert under("gs://bucket", "study") == "gs://bucket/study"
    assert under("/a/b", "study", "trial") == "/a/b/study/trial"


def test_a_folder_may_be_a_uri_too(study: dict[str, Any], tmp_path: Path) -> None:
    for place in (str(tmp_path / "kept"), f"file://{tmp_path}/kept"):
        config = load(study, tmp_path, place)
        assert places.checkpoint_place(config, "x") == str(tmp_path / "kept" / "tiny" / "x")
    assert CheckpointFolder(f"file://{tmp_path}/none").names() == []


def test_a_slip_in_a_uri_makes_no_folder_of_that_name(study: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"tracking.checkpoints: must be a folder, or a URI such as"):
        load(study, tmp_path, "s3:/bucket/kept")


def test_a_password_is_no_part_of_a_place(study: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"tracking.checkpoints: must be without a password") as error:
        load(study, tmp_path, "s3://ada:secret@bucket/kept")
    assert "secret" not in str(error.value)


def test_its_error_crosses_processes() -> None:
    with pytest.raises(CheckpointFolderError) as error:
        CheckpointFolder("ftp://host/path")
    again = pickle.loads(pickle.dumps(error.value))
    assert isinstance(again, CheckpointFolderError)
    assert str(again) == str(error.value)


def test_a_finished_trial_without_its_checkpoint_is_not_scored(study: dict[str, Any], tmp_path: Path) -> None:
    config = load(study, tmp_path, str(tmp_path / "kept"))
    with pytest.raises(
        CheckpointFolderError, match="has no readable checkpoint, which is needed to score on test"
    ):
        scores_on_test.score(job(config).to_dict())
