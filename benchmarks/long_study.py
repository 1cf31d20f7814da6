"""A long study: 9 methods of 200 trials, launched for real, and looked at from outside.

    python -m benchmarks.long_study [--trials 200] [--steps 4] [--keep FOLDER]

Every trial trains a random BERT (2 layers, width 16) on 60 short texts in Ray's workers, so what takes the time is what a trial
costs besides its training. Every second it reads the driver's memory (resident bytes of the process that trains) and how many
trials have ended. Prints a line for each tenth of the trials: seconds for each trial and the driver's memory; then the sizes of
the Optuna database, MLflow's, the checkpoints and report.html, and how long Chromium takes until the page is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml
from transformers.utils import logging

from methods.registry import get, names
from tests.search.conftest import ROWS, make_rows, save_model

DRAWN = "return performance.timing.loadEventEnd - performance.timing.navigationStart"


class Sample(NamedTuple):
    seconds: float
    ended: int
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200, help="of each method")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="a folder in which the study stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_study(folder, given.trials, given.steps)
        show_course(run(folder), given.trials * len(names()))
        show_sizes(folder / "outputs")


def write_study(folder: Path, trials: int, steps: int) -> None:
    """study.yaml, its data and its model."""
    logging.disable_progress_bar()
    save_model(folder / "model")
    for split in ROWS:
        lines = (json.dumps(row) + "\n" for row in make_rows(split))
        (folder / f"{split}.jsonl").write_text("".join(lines))
    study = {
        "study": "long",
        "output_dir": "outputs",
        "model": {"name_or_path": "model", "max_length": 12},
        "tasks": [
            {
                "name": "topics",
                "text": "text",
                "label": "label",
                "data": {
                    "path": "json",
                    "data_files": {split: f"{split}.jsonl" for split in ROWS},
                    "validation_split": "validation",
                },
            }
        ],
        "methods": {
            name: {"num_virtual_tokens": {"min": 2, "max": 4}}
            if "num_virtual_tokens" in get(name).Config.fields()
            else {}
            for name in names()
        },
        "search": {"trials_per_method": trials, "early_stopping": False},
        "training": {"max_steps": steps, "eval_steps": steps // 2, "per_device_train_batch_size": 8},
        "finalists": {"num_seeds": 2, "max_seeds": 2},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def run(folder: Path) -> list[Sample]:
    """Launches the study; returns what was seen of it each second."""
    samples, began = [], time.monotonic()
    with (folder / "terminal.log").open("w") as log:
        command = [sys.executable, "-m", "search.cli", "launch", "study.yaml"]
        root = str(Path(__file__).resolve().parent.parent)
        launch = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": root}
        )
        while launch.poll() is None:
            time.sleep(1)
            drivers = psutil.Process(launch.pid).children() if launch.poll() is None else []
            ended = count_ended(folder / "outputs/optuna.db")
            if drivers and ended:
                samples.append(Sample(time.monotonic() - began, ended, drivers[0].memory_info().rss))
    if launch.returncode != 0:
        sys.exit((folder / "terminal.log").read_text())
    print(f"The launch took {(time.monotonic() - began) / 60:.1f} min.")
    return samples


def count_ended(database: Path) -> int:
    """How many search trials have ended; 0 while the database is made."""
    query = """select count(*) from trials join studies using (study_id)
               where study_name not like '%finalists' and state in ('COMPLETE', 'PRUNED', 'FAIL')"""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def show_course(samples: list[Sample], trials: int) -> None:
    """A line for each tenth of the search."""
    tenth = trials // 10
    since = samples[0]
    print("trials   seconds a trial   driver, MiB")
    for number in range(1, 11):
        until = next((s for s in samples if s.ended >= number * tenth), samples[-1])
        each = (until.seconds - since.seconds) / max(1, until.ended - since.ended)
        print(f"{until.ended:6}   {each:15.3f}   {until.memory / 2**20:11.0f}")
        since = until


def show_sizes(outputs: Path) -> None:
    """What the study has left on the disk, and the page in a browser."""
    page = outputs / "long/report/report.html"
    for what, path in (
        ("Optuna database", outputs / "optuna.db"),
        ("MLflow database", outputs / "mlflow.db"),
        ("checkpoints", outputs / "long/checkpoints"),
        ("report.html", page),
    ):
        files = [path] if path.is_file() else path.rglob("*")
        print(f"{what}: {sum(file.stat().st_size for file in files) / 2**20:.1f} MiB")
    print(f"Chromium draws the page in {seconds_to_draw(page):.2f} s")


def seconds_to_draw(page: Path) -> float:
    """From the start of the navigation to the end of the page's load event."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        browser.get(page.as_uri())
        return float(browser.execute_script(DRAWN)) / 1000
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
