"""How long the command line takes to start, beside Python with the libraries that it cannot do without.

    python benchmarks/startup.py [--repeats 10]

Prints, for commands that need neither model nor data, the ratio of their time to that of
`python -c 'import yaml, pydantic, typer'`. Both run in turns; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

LEAST = [sys.executable, "-c", "import yaml, pydantic, typer"]
PROGRAM = [sys.executable, "-m", "search.cli"]
MISTAKE = """\
study: mistaken
model: { name_or_path: somewhere }
tasks: [{ name: topics, text: text, label: label, data: { path: csv, data_files: { train: train.csv } } }]
methods: { prompt_tunin: {}, p_tuning_v2: { learning_rat: 0.1 } }
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        mistaken = Path(folder, "mistaken.yaml")
        mistaken.write_text(MISTAKE, encoding="utf-8")
        for name, arguments in (
            ("--help", ["--help"]),
            ("methods", ["methods"]),
            ("init", ["init", str(Path(folder, "new.yaml"))]),
            ("check, a mistake in the YAML", ["check", str(mistaken)]),
        ):
            ours, least = in_turns([*PROGRAM, *arguments], LEAST, repeats, Path(folder, "new.yaml"))
            print(f"{name:30} {ours / least:4.1f} times the imports   ({ours:.2f} s / {least:.2f} s)")


def in_turns(first: Sequence[str], second: Sequence[str], repeats: int, new: Path) -> tuple[float, float]:
    """Median seconds of each command, run alternately; `new` is removed before each."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for command, found in zip((first, second), times, strict=True):
            new.unlink(missing_ok=True)
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False)
            found.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
