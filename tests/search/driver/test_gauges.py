"""A study's gauges at the metrics endpoint of a real Ray node, and the Grafana dashboard that asks for them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels

from tests.search.conftest import write_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DASHBOARD = Path(__file__).parents[3] / "dashboards" / "grafana" / "promptfront.json"
Samples = list[tuple[str, dict[str, str], float]]


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[str, str]]:
    """Address of a Ray of its own, and the metrics endpoint of its node."""
    try:
        found = ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            _system_config={"metrics_report_interval_ms": 1000},
        )
        (it,) = ray.nodes()
        yield found["gcs_address"], f"http://{it['NodeManagerAddress']}:{it['MetricsExportPort']}/metrics"
    finally:
        ray.shutdown()


def scrape(endpoint: str) -> Samples:
    text = urllib.request.urlopen(endpoint, timeout=20).read().decode()
    return [
        (s.name, s.labels, s.value) for family in text_string_to_metric_families(text) for s in family.samples
    ]


def follow(process: subprocess.Popen[str], endpoint: str) -> Samples:
    """The last samples with a study's gauges among them, until the process ends."""
    last: Samples = []
    while process.poll() is None:
        now = scrape(endpoint)
        last = now if any(name == "ray_promptfront_trials" for name, _, _ in now) else last
        time.sleep(0.5)
    return last


def test_a_studys_gauges_and_the_dashboard(
    study: dict[str, Any], node: tuple[str, str], tmp_path: Path
) -> None:
    address, endpoint = node
    write_study(study, tmp_path)
    command = "from search.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "launch", "study.yaml", "--address", address],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(DASHBOARD.parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    samples = follow(process, endpoint)
    assert process.stdout is not None
    assert process.returncode == 0, process.stdout.read()
    report = json.loads((tmp_path / "outputs/tiny/report/report.json").read_text())

    def value(name: str, **labels: str) -> float:
        (found,) = [
            v for n, given, v in samples if n == f"ray_promptfront_{name}" and labels.items() <= given.items()
        ]
        return found

    for method in report["methods"]:
        tags = {"study": "tiny", "method": method["method"]}
        for state, name in (("COMPLETE", "completed"), ("PRUNED", "pruned"), ("FAIL", "failed")):
            assert value("trials", **tags, state=state) == method[name]
        assert value("trials_planned", **tags) == 3
        assert value("best_validation", **tags) == pytest.approx(method["best_validation"])
        runs = sum(len(finalist["seeds"]) for finalist in method["finalists"])
        assert value("finalist_runs", **tags, state="COMPLETE") == runs

    asked = {
        name
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"\bray_\w+", target["expr"])
    }
    # Ray's own dashboards name what this machine has none of, such as GPUs.
    known = {name for name, _, _ in samples} | set(
        re.findall(r"\bray_\w+", Path(default_dashboard_panels.__file__).read_text())
    )
    assert asked <= known
    assert {name for name in known if "promptfront" in name} <= asked, "every gauge is shown"
