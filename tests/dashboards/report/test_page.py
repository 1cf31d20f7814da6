"""The page in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboards.report.report import build, write

pytestmark = pytest.mark.slow


def show(browser: Any, rows: dict[str, Any], folder: Path, width: int = 1280) -> None:
    """Writes the report and opens it in a window of `width` CSS pixels."""
    write(rows, folder)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((folder / "report.html").as_uri())


def test_every_section_renders(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    show(browser, rows, tmp_path)
    sections = browser.find_elements("css selector", "main > section")
    assert len(sections) == 12
    assert all(section.size["height"] > 60 for section in sections)
    assert len(browser.find_elements("css selector", "#curves figure > svg")) == 4
    assert browser.get_log("browser") == []


def test_nothing_is_loaded(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    show(browser, rows, tmp_path)
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


def test_tables_sort(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    show(browser, rows, tmp_path)
    head = browser.find_elements("css selector", "#trial-table th")[3]
    column = "return [...document.querySelectorAll('#trial-table tbody tr')].map(r => r.cells[3].dataset.v)"
    for reverse in (False, True):
        browser.execute_script("arguments[0].click()", head)
        found = browser.execute_script(column)
        scores = [float(value) for value in found if value]
        assert scores == sorted(scores, reverse=reverse)
        assert len(scores) == 12
        # What was not measured stays at the end.
        assert found[len(scores) :] == [""] * (len(found) - len(scores))


def test_copy_button(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    show(browser, rows, tmp_path)
    browser.execute_script(
        "window.copied = null; navigator.clipboard.writeText = async (text) => { window.copied = text; };"
    )
    verdict = build(rows)["verdict"]
    for source, expected in (("snippet", "snippet"), ("reproduce", "study_file"), ("load", "load")):
        button = browser.find_element("css selector", f"#verdict button.copy[data-from={source}]")
        button.click()
        assert button.text == "Copied"
        assert browser.execute_script("return window.copied") == verdict[expected]


def test_the_cost_axis_switches(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    for number, finalist in enumerate(rows["finalists"]):
        if finalist["chosen"]:
            finalist["probe"] = {"device": "cpu", "latency_seconds": 0.1 + number, "bytes": 1000}
    show(browser, rows, tmp_path)
    buttons = browser.find_elements("css selector", "#pareto .switch button")
    assert [b.text for b in buttons] == ["deployed parameters", "trained parameters", "latency", "size"]
    for button in buttons:
        button.click()
        (shown,) = [p for p in browser.find_elements("css selector", "#pareto .panel") if p.is_displayed()]
        assert button.text in shown.find_element("css selector", "svg").get_attribute("aria-label")
        assert [b.get_attribute("aria-pressed") for b in buttons].count("true") == 1
    browser.find_element("css selector", "#enough .switch button:last-child").click()
    assert browser.find_element("id", "progress-2").is_displayed()
    assert browser.get_log("browser") == []


def test_a_phone_does_not_scroll_sideways(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    rows["study"] = "a-study-with-quite-a-long-name-" * 2
    rows["trials"][5]["error"] = "x" * 500
    show(browser, rows, tmp_path, width=400)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("width", [1280, 390])
def test_charts_are_whole_and_their_labels_apart(
    browser: Any, rows: dict[str, Any], tmp_path: Path, width: int
) -> None:
    show(browser, rows, tmp_path, width)
    found = browser.execute_script("""
        const shown = e => e.getClientRects().length > 0;
        const box = e => e.getBoundingClientRect();
        const charts = [...document.querySelectorAll('.chart svg')].filter(shown);
        const outside = charts.flatMap(svg => [...svg.querySelectorAll('text, .point, .finalist')])
            .filter(e => box(e).right > innerWidth || box(e).left < 0).map(e => e.textContent);
        const front = charts[0];
        const over = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        const texts = [...front.querySelectorAll('text')];
        const marks = [...front.querySelectorAll('.point, .finalist, .trade-off, .dominated')];
        const covered = texts.filter(t => [...marks, ...texts].some(m => m !== t && over(box(t), box(m))));
        return [charts.length, outside, covered.map(t => t.textContent)];
    """)
    assert found == [3, [], []]  # front, seeds, progress


def test_nothing_is_wider_than_a_sheet(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    """A4 with chromium's margins of 1 cm is 718 CSS pixels wide."""
    for trial in rows["trials"]:
        trial["config"] |= {f"{trial['method']}_{number}": "a value" for number in range(8)}
    rows["trials"][5]["error"] = "x" * 500
    rows["methods"][0]["title"] = "A method with quite a long title"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        show(browser, rows, tmp_path, width=718)
        browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        wide = browser.execute_script(
            "return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 719)"
            ".map(e => `${e.closest('section').id} ${e.tagName} ${e.textContent.slice(0, 40)}`)"
        )
        assert wide == []
        said = browser.find_element("css selector", "#trial-table tbody td.paper").text
        assert f"{rows['trials'][0]['method']}_7" in said
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_markup_in_data_runs_nothing(browser: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    evil = "</script></style></pre><img src=x onerror='window.evil=1'><script>window.evil=1</script>"
    rows["study"] = rows["trials"][5]["error"] = rows["provenance"]["study_file"] = evil
    rows["trials"][0]["config"] = {evil: evil}
    show(browser, rows, tmp_path)
    assert browser.execute_script("return window.evil === undefined")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [1280, 400])
def test_an_empty_study_is_a_page_too(browser: Any, rows: dict[str, Any], tmp_path: Path, width: int) -> None:
    rows.update(trials=[], finalists=[], partial=True, outcome="interrupted", provenance={})
    show(browser, rows, tmp_path, width)
    sections = browser.find_elements("css selector", "main > section")
    assert [section.get_attribute("id") for section in sections] == ["verdict", "provenance"]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
