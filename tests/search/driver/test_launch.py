"""Whole studies on a real Ray, a real Optuna storage and a real MLflow store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import psutil
import pytest

import methods
from search.config.study_file import load
from search.plan import check
from tests.search.conftest import make_rows, teach, write_study
from tests.search.launches import (
    assert_whole,
    mlflow_runs,
    progress,
    report,
    run,
    start,
    states,
    wait_until,
)

TWO = ("head_only", "prompt_tuning")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def folder(study: dict[str, Any], tmp_path: Path) -> Path:
    study["output_dir"] = "outputs"
    teach(study)
    study["methods"]["p_tuning_v2"] |= {"readout": "model", "shift_positions": True}  # as peft has it
    write_study(study, tmp_path)
    return tmp_path


PLAIN_PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
base, adapter, *texts = sys.argv[1:]
model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
model = PeftModel.from_pretrained(model, adapter).eval()
tokenizer = AutoTokenizer.from_pretrained(base)
for text in texts:
    logits = model(**tokenizer(text, truncation=True, max_length=12, return_tensors="pt")).logits
    print(int(logits.argmax()))
"""


@pytest.fixture
def long_folder(study: dict[str, Any], tmp_path: Path) -> Path:
    """A study of two methods with time to be interrupted in."""
    study["output_dir"] = "outputs"
    study["methods"] = {name: study["methods"][name] for name in TWO}
    study["search"] = {"trials_per_method": 2}
    study["training"] = {**study["training"], "max_steps": 120, "eval_steps": 20}
    write_study(study, tmp_path)
    return tmp_path


def test_a_study_from_launch_to_prediction(folder: Path) -> None:
    code, output = run("launch", "study.yaml", cwd=folder)
    assert code == 0, output
    assert_whole(folder)
    verdict = report(folder)["verdict"]
    assert verdict["method"] is not None
    assert f"Verdict: {verdict['sentence']}\n" in output
    assert f"Why:     {verdict['reason']} {verdict['evidence']}" in output
    assert all(step["command"] in output for step in verdict["next"] if step["command"])
    last = [
        "Report:  outputs/tiny/report/report.html",
        "Browse:  promptfront ui tiny",
        "Use it:  promptfront export tiny --out my_model",
    ]
    assert "\n".join(last) in output
    assert report(folder)["test_readings"] == 1
    results = folder / "outputs" / "tiny"
    for name in (
        "config.yaml",
        "report/report.html",
        "report/report.md",
        "report/trials.csv",
        "curves.parquet",
    ):
        assert (results / name).stat().st_size > 0, name
    curves = pd.read_parquet(results / "curves.parquet")
    assert set(curves["stage"]) == {"search", "finalists"}
    predictions = pd.read_parquet(next((results / "predictions").glob("*.parquet")))
    assert list(predictions["prediction"] == predictions["target"]) == [s == 1 for s in predictions["score"]]

    assert_few_checkpoints(folder)
    runs = mlflow_runs(folder)
    before = report(folder)
    code, output = run("launch", "study.yaml", "--set", "search.eta=3", cwd=folder)
    assert code == 0, output
    assert "Nothing to do" in output
    assert mlflow_runs(folder) == runs
    assert report(folder)["trials"] == before["trials"]
    assert report(folder)["provenance"] == before["provenance"]

    code, output = run("export", "tiny", "--method", "p_tuning_v2", "--out", "exported", cwd=folder)
    assert code == 0, output
    texts = [row["text"] for row in make_rows("test")]
    exported = predictions_of(results, before)
    assert methods.load(folder / "exported").predict(texts) == exported
    assert "Task topics: plain peft loads it, with the same logits." in output
    card = (folder / "exported" / "README.md").read_text()
    assert "library_name: peft" in card
    assert "95 % interval" in card
    labels = json.loads((folder / "exported" / "method.json").read_text())["tasks"][0]["labels"]
    command = [sys.executable, "-c", PLAIN_PEFT, before["provenance"]["model"]["name"], "exported", *texts]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=True)
    assert [labels[int(line)] for line in done.stdout.split()] == exported, "plain peft says the same"
    code, output = run("status", cwd=folder)
    assert code == 0, output
    assert "p_tuning_v2" in output
    code, output = run("report", "tiny", "--out", "elsewhere", cwd=folder)
    assert code == 0, output
    assert json.loads((folder / "elsewhere/report.json").read_text())["verdict"] == before["verdict"]
    code, output = run("report", "tiny", "tiny", "--out", "both", cwd=folder)
    assert code == 0, output
    both = json.loads((folder / "both/comparison.json").read_text())
    assert all(fact["same"] for fact in both["facts"] if None not in fact["values"])


def assert_few_checkpoints(folder: Path) -> None:
    """One of each method's best trial and one of each finalist's run are left, and no more bytes than `check` says."""
    files = list((folder / "outputs/tiny/checkpoints").rglob("step-*"))
    best = [trial for trial in report(folder)["trials"] if trial["checkpoint"] is not None]
    assert [trial["method"] for trial in best] == [method["method"] for method in report(folder)["methods"]]
    assert all(
        trial["validation"]
        == max(
            t["validation"]
            for t in report(folder)["trials"]
            if t["method"] == trial["method"] and t["state"] == "COMPLETE"
        )
        for trial in best
    )
    assert all(Path(trial["checkpoint"]).exists() for trial in best)
    expected = {f"{trial['method']}-{trial['number']:03d}" for trial in best}
    for method in report(folder)["methods"]:
        runs = sum(len(each["seeds"]) for each in method["finalists"])
        expected |= {f"{method['method']}-final-{number:03d}" for number in range(runs)}
    assert sorted(file.parent.name for file in files) == sorted(expected)
    headers = 10_000 * len(files)
    size = sum(file.stat().st_size for file in files)
    assert size <= check.check(load(folder / "study.yaml"), probe=False).checkpoint_bytes + headers


def predictions_of(results: Path, content: dict[str, Any]) -> list[str]:
    """What the exported run, the best on validation of the chosen finalist's, predicted on test."""
    storage = f"sqlite:///{results.parent}/optuna.db"
    trials = optuna.load_study(study_name="tiny/p_tuning_v2/finalists", storage=storage).trials
    (method,) = (m for m in content["methods"] if m["method"] == "p_tuning_v2")
    (chosen,) = (f["number"] for f in method["finalists"] if f["chosen"])
    best = max((t for t in trials if t.user_attrs["from"] == chosen), key=lambda t: t.values[0])
    table = pd.read_parquet(results / "predictions" / f"p_tuning_v2-final-{best.number:03d}.parquet")
    return list(table.sort_values("row")["prediction"])


def test_interrupted_in_every_way_a_study_loses_nothing(long_folder: Path) -> None:
    """A second driver, SIGTERM as it begins, Ctrl-C, SIGTERM, kill -9 of the driver and all it started."""
    process = start("launch", "study.yaml", cwd=long_folder)
    wait_until(lambda: (long_folder / "outputs/tiny/driver.txt").exists(), process)
    code, output = run("launch", "study.yaml", cwd=long_folder)
    assert code == 5
    (driver,) = psutil.Process(process.pid).children()
    assert f"process {driver.pid}" in output
    process.terminate()
    assert process.wait(timeout=120) == 130

    runs: set[str] = set()
    for number in (signal.SIGINT, signal.SIGTERM):
        trained = progress(long_folder)
        process = start("launch", "study.yaml", cwd=long_folder)
        wait_until(trained, process)
        os.killpg(process.pid, number)  # as a terminal and `timeout` do
        assert process.wait(timeout=120) == 130
        assert report(long_folder)["partial"]
        assert "RUNNING" not in mlflow_runs(long_folder).values()
        assert runs <= set(mlflow_runs(long_folder))
        runs = set(mlflow_runs(long_folder))
    assert (long_folder / "launch.log").read_text().count("Interrupted; nothing is lost") >= 2

    trained = progress(long_folder)
    process = start("launch", "study.yaml", cwd=long_folder)
    wait_until(trained, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, output = run("launch", "study.yaml", cwd=long_folder)
    assert code == 0, output
    assert_whole(long_folder, TWO, each=2)
    assert runs <= set(mlflow_runs(long_folder)), "the runs from before are the same runs"


@pytest.mark.release
def test_a_diverging_trial_fails_and_the_study_goes_on(study: dict[str, Any], tmp_path: Path) -> None:
    study["output_dir"] = "outputs"
    study["methods"] = {
        "head_only": {},
        "prompt_tuning": {"learning_rate": 1e30, "num_virtual_tokens": [2, 3]},
    }
    teach(study)
    study["training"]["warmup_ratio"] = 0.0
    write_study(study, tmp_path)
    code, output = run("launch", "study.yaml", cwd=tmp_path)
    assert code == 0, output
    failed = [t for t in report(tmp_path)["trials"] if t["method"] == "prompt_tuning"]
    assert [t["state"] for t in failed] == ["FAIL"] * 3
    assert all("diverged" in t["error"] for t in failed)
    assert report(tmp_path)["verdict"]["method"] == "head_only"
    assert Counter(mlflow_runs(tmp_path).values())["FAILED"] == 3


def test_a_study_in_which_all_fails_ends_3(study: dict[str, Any], tmp_path: Path) -> None:
    study["output_dir"] = "outputs"
    study["methods"] = {"prompt_tuning": {"learning_rate": 1e30, "num_virtual_tokens": [2, 3]}}
    study["training"]["warmup_ratio"] = 0.0
    write_study(study, tmp_path)
    code, output = run("launch", "study.yaml", cwd=tmp_path)
    assert code == 3, output
    assert "diverged" in output
    assert report(tmp_path)["verdict"]["decision"] == "none"
    code, output = run("launch", "study.yaml", cwd=tmp_path)
    assert code == 3, "launching it again is no success either: " + output


@pytest.mark.release
def test_a_limit_ends_4_and_more_of_it_goes_on(long_folder: Path) -> None:
    code, output = run("launch", "study.yaml", "--set", "search.max_hours=0.0001", cwd=long_folder)
    assert code == 4, output
    assert "search.max_hours is used up" in output
    assert report(long_folder)["partial"]
    assert "RUNNING" not in mlflow_runs(long_folder).values()
    code, output = run("launch", "study.yaml", "--set", "search.max_trials=3", cwd=long_folder)
    assert code == 4, output
    assert "search.max_trials is used up" in output
    found = states(long_folder)
    assert found["COMPLETE"] + found["PRUNED"] == 3
    assert found["RUNNING"] == 0
    code, output = run("launch", "study.yaml", cwd=long_folder)
    assert code == 0, output
    assert_whole(long_folder, TWO, each=2)
