"""The walk of docs/mlflow.md through the MLflow UI, click by click, on a study that was launched."""

from __future__ import annotations

import base64
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.search.conftest import teach, write_study
from tests.search.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = [sys.executable, "-c", "from search.cli.main import main; main()"]
RUNS = "a[href*='/runs/']"
FILTER = "tags.promptfront.stage = 'search' and params.method != 'full'"
T = TypeVar("T")


@pytest.fixture
def page(study: dict[str, Any], tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URL that `promptfront ui` prints for a launched study, and the password."""
    teach(study)
    write_study({**study, "output_dir": "outputs"}, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONUNBUFFERED": "1"}
    subprocess.run(
        [*PROGRAM, "launch", "study.yaml"], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    port = free_port()
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*PROGRAM, "ui", "tiny", "--port", str(port)],
            cwd=tmp_path, env=environment, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: "startup complete" in log.read_text() and process.poll() is None)
        said = log.read_text()
        yield (
            re.search(r"MLflow UI: (\S+)", said).group(1),  # type: ignore[union-attr]
            re.search(r"password:  (\S+)", said).group(1),  # type: ignore[union-attr]
        )
    finally:
        process.terminate()
        assert process.wait(60) == 0
        with socket.create_server(("127.0.0.1", port)):  # the server's own workers have ended too
            pass


def until(found: Callable[[], T]) -> T:
    """What is found, as soon as it is: the page is drawn by scripts."""
    deadline = time.monotonic() + 90
    while True:
        try:
            if result := found():
                return result
        except Exception as error:  # an element that was drawn anew in between
            if type(error).__module__.partition(".")[0] != "selenium":
                raise
        assert time.monotonic() < deadline, "the page does not show what docs/mlflow.md says"
        time.sleep(0.2)


class Reader:
    """Somebody who clicks on what docs/mlflow.md names."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def shown(self, css: str, text: str | None = None) -> list[Any]:
        found = [e for e in self.browser.find_elements("css selector", css) if e.is_displayed()]
        return [e for e in found if text is None or e.text.strip() == text]

    def named(self, text: str) -> list[Any]:
        """What has this text, and nothing within that has it."""
        same = f"normalize-space(.)='{text}'"
        found = self.browser.find_elements("xpath", f"//body//*[{same} and not(*[{same}])]")
        return [e for e in found if e.is_displayed()]

    def click(self, css: str, text: str | None = None, place: int = 0) -> None:
        until(lambda: _clicked(self.shown(css, text)[place:]))

    def click_on(self, text: str) -> None:
        until(lambda: _clicked(self.named(text)))

    def choose(self, css: str, value: str) -> None:
        self.click(css)
        self.click("[role=option]", value)

    def pick(self, place: int, value: str) -> None:
        """Adds a value to a list of many."""
        self.click(".du-bois-light-select-selector", place=place)
        self.browser.switch_to.active_element.send_keys(value)
        self.click(".du-bois-light-select-item-option", value)
        self.browser.switch_to.active_element.send_keys("\ue00c")  # Escape

    def text(self) -> str:
        text: str = self.browser.find_element("tag name", "body").text
        return text


def _clicked(elements: list[Any]) -> bool:
    for element in elements[:1]:
        element.click()
    return bool(elements)


def test_the_walk(browser: Any, page: tuple[str, str]) -> None:
    url, password = page
    reader = Reader(browser)
    login = base64.b64encode(f"admin:{password}".encode()).decode()
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Authorization": f"Basic {login}"}})
    size = {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    browser.get(url)
    reader.click(RUNS, "tiny")
    reader.click_on("Show more")
    until(lambda: "How to reproduce" in reader.text() and "Child runs" in reader.text())
    reader.click_on("Artifacts")
    reader.click_on("report")
    reader.click_on("report.html")
    frame = until(lambda: reader.shown("iframe"))[0]
    browser.switch_to.frame(frame)
    until(lambda: "promptfront report" in reader.text().lower())
    assert "Learning curves" in reader.text()
    browser.switch_to.default_content()

    browser.get(url)
    for close in until(lambda: reader.shown("button[aria-label='Close']")):
        close.click()  # the assistant's panel
    until(lambda: reader.shown("[data-testid='search-box']"))[0].send_keys(FILTER + "\n")
    until(lambda: "10 matching runs" in reader.text())  # nine trials, and the study they belong to
    reader.click("[role=gridcell] button.du-bois-light-btn-icon-only")
    until(lambda: reader.shown(RUNS, "p_tuning_v2-002"))
    everything = until(lambda: browser.find_elements("css selector", "input[aria-label^='Select all runs']"))
    browser.execute_script("arguments[0].click()", everything[0])
    reader.click_on("Compare")
    reader.click_on("Scatter Plot")
    reader.choose("#x-axis-selector", "deployed_parameters")
    reader.choose("#y-axis-selector", "best_accuracy")
    until(lambda: reader.shown(".xtitle", "deployed_parameters"))
    assert reader.shown(".ytitle", "best_accuracy")
    reader.click_on("Parallel Coordinates Plot")
    reader.click("[data-testid='clear-button']")
    reader.pick(0, "method")
    reader.pick(0, "learning_rate")
    reader.pick(1, "best_accuracy")
    until(lambda: {"method", "learning_rate", "best_accuracy"} <= {e.text for e in reader.shown("svg text")})
    drawn = {e.text for e in reader.shown("svg text")}
    assert {"head_only", "prompt_tun", "p_tuning_v"} <= drawn, "MLflow cuts names at ten characters"

    browser.get(url)
    reader.click_on("Models")
    until(lambda: [m for m in ("head_only", "prompt_tuning", "p_tuning_v2") if reader.shown("a", m)])
