"""Text from data is shown, and never run."""

from __future__ import annotations

from pathlib import Path

import yaml

from dashboards.report.report import leaderboard_markdown, write
from tests.dashboards.studies import EVIL, Rows, probe


def test_text_from_data_is_escaped(rows: Rows, tmp_path: Path) -> None:
    rows["study"] = rows["outcome"] = rows["backbone"]["name"] = EVIL
    rows["partial"] = True
    rows["trials"][5]["error"] = EVIL + "\n" + EVIL
    rows["trials"][6]["config"] = {EVIL: EVIL, "learning_rate": 0.1}
    rows["trials"][6]["mlflow_run_id"] = EVIL
    rows["tasks"][0]["name"] = EVIL
    rows["finalists"][1]["config"] = {EVIL: EVIL}
    rows["provenance"]["study_file"] = rows["provenance"]["command"] = EVIL
    rows["methods"][0].update(method=EVIL, title=EVIL)
    for row in (*rows["trials"], *rows["finalists"]):
        row["method"] = EVIL if row["method"] == "head_only" else row["method"]
    report = write(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<script>") == html.count("</script>") == 1
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>" not in (tmp_path / "report.md").read_text(encoding="utf-8").split("```")[0]
    assert "<script>" not in leaderboard_markdown(report).split("```")[0]


def test_new_places_escape_what_they_show(rows: Rows, tmp_path: Path) -> None:
    probe(rows, head_only=0.1, prompt_tuning=0.4, p_tuning_v2=0.3, full=0.9)
    for each in rows["finalists"]:
        if each.get("probe"):
            each["probe"]["device"] = EVIL
    rows["provenance"]["study_file"] = yaml.safe_dump({"study": EVIL, "methods": {}, EVIL: EVIL})
    rows["methods"][1]["importances"] = {EVIL: 1.0}
    rows["tasks"].append({**rows["tasks"][0], "name": EVIL, "metric": EVIL})
    for number, trial in enumerate(rows["trials"]):
        trial["config"][EVIL] = f"{EVIL}{number % 2}"
    rows["backbone"]["name"] = EVIL
    for row in (*rows["trials"], *rows["finalists"], *rows["methods"]):
        row["method"] = EVIL if row["method"] == "full" else row["method"]
    write(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<script>") == html.count("</script>") == 1
    assert "<img" not in html
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in "".join(markdown.split("```")[::2])
