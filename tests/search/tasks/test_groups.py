"""Examples that belong together: which groups there are, which are in train too, and what a column may hold."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from search import tasks
from search.config import kinds, study_file
from search.errors import StudyChangedError, StudyFileError
from search.study import identity
from search.tasks import groups
from tests.search.conftest import write_study
from tests.search.tasks.rows import Rows
from tests.search.tasks.writing import PAIRS
from tests.search.tasks.writing import settings as writing_settings


def of_users(*users: Any) -> Rows:
    words = ("cat", "dog", "map", "rice", "bread", "road")
    return [
        {"text": f"{word} {number}", "label": "ab"[number % 2], "user": user}
        for number, (word, user) in enumerate(zip(words, users, strict=False))
    ]


def load(write: Any, tokenizer: Any, train: Rows, validation: Rows, **settings: Any) -> Any:
    for number, row in enumerate(validation):
        row["text"] = f"the {row['text']} {number}"
    config = write({"train": train, "validation": validation}, group="user", **settings)
    return tasks.load(config, tokenizer, 12, 0)


def test_groups_are_numbered_by_first_appearance(write: Any, tiny_tokenizer: Any) -> None:
    task = load(write, tiny_tokenizer, of_users("ada", "bob", "ada", "cy"), of_users("dan", "dan"))
    assert task.splits["train"].groups == [0, 1, 0, 2]
    assert task.splits["validation"].groups == [0, 0]
    assert task.warnings == ()


def test_groups_that_are_in_train_too_are_counted_by_their_value(write: Any, tiny_tokenizer: Any) -> None:
    """A number is the same group as its digits: a column with a text among them is read as text."""
    task = load(write, tiny_tokenizer, of_users(7, 8.0, 7), of_users("8", "x", "8"))
    assert task.splits["validation"].groups == [0, 1, 0]
    assert task.warnings == ("1 of 2 groups of validation are in train too: their scores may be too good",)


def test_without_a_column_every_example_stands_alone(write: Any, tiny_tokenizer: Any) -> None:
    task = tasks.load(write(), tiny_tokenizer, 12, 0)
    assert task.splits["train"].groups is None
    assert groups.shared({"test": [None, None]}, [None]) == []


def test_the_column_may_be_one_that_is_read_anyway(write: Any, tiny_tokenizer: Any) -> None:
    rows = of_users("ada", "bob")
    config = write({"train": rows, "validation": rows}, group="label")
    assert tasks.load(config, tiny_tokenizer, 12, 0).splits["train"].groups == [0, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"group: row 1 of 'train' \(the first is 0\) has no value in 'user'; give each row its group"),
        (" ", r"group: row 1 of 'train' .* has no value in 'user'"),
        (float("nan"), r"group: row 1 of 'train' .* has no value in 'user'"),
        (["bob"], r"group: user must hold text or numbers; row 1 of 'train' .* has \['bob'\]"),
    ],
)
def test_values_that_name_no_group(write: Any, tiny_tokenizer: Any, value: Any, message: str) -> None:
    train = of_users("ada", None)
    train[1]["user"] = value
    text = write({"train": of_users("ada", "bob"), "validation": of_users("cy")}, group="user")
    Path(text.data.path).write_text(
        f"nan = float('nan')\ndef splits(): return { ({'train': train, 'validation': train})!r}"
    )
    with pytest.raises(StudyFileError, match=message):
        tasks.load(text, tiny_tokenizer, 12, 0)


def test_a_missing_column(write: Any, tiny_tokenizer: Any) -> None:
    config = write({split: of_users("ada", "bob") for split in ("train", "validation")}, group="usr")
    message = r"group: no column 'usr' in split 'train'.* did you mean user"
    with pytest.raises(StudyFileError, match=message):
        tasks.load(config, tiny_tokenizer, 12, 0)
    with pytest.raises(StudyFileError, match=message):
        tasks.count(config, "train")


def test_a_study_from_before_there_were_groups_goes_on(study: Any, tmp_path: Path) -> None:
    now = identity.identity(study_file.load(write_study(study, tmp_path)), "head_only")
    before = copy.deepcopy(now)
    del before["tasks"][0]["group"]
    identity.refuse_changes("tiny", before, now)
    now["tasks"][0]["group"] = "user"
    with pytest.raises(StudyChangedError, match=r"tasks.0.group: was None, is 'user'"):
        identity.refuse_changes("tiny", before, now)


def test_sentences(tmp_path: Path, tiny_tokenizer: Any) -> None:
    rows = [{"words": ["cat"], "tags": [tag], "article": article} for tag, article in ("xp", "yq", "xp")]
    (tmp_path / "rows.py").write_text(f"def splits(): return { ({'train': rows, 'validation': rows})!r}")
    data = {"path": str(tmp_path / "rows.py"), "validation_split": "validation"}
    given = {
        "name": "t",
        "kind": "token_classification",
        "metric": "accuracy",
        "group": "article",
        "data": data,
    }
    task = tasks.load(kinds.parse(given), tiny_tokenizer, 12, 0)
    assert task.splits["validation"].groups == [0, 1, 0]
    assert task.warnings[-1].startswith("2 of 2 groups of validation are in train too")


@pytest.mark.parametrize(
    ("group", "expected", "what"), [(None, [0, 1, 0], "contexts"), ("title", [0, 0, 0], "groups")]
)
def test_questions_on_one_context(
    tmp_path: Path, tiny_tokenizer: Any, group: str | None, expected: list[int], what: str
) -> None:
    """Long contexts have several windows, but a number for each question."""
    contexts = ["the cat is near the old train and a dog was with the fish", "bread and soup"]
    rows = [
        {
            "question": q,
            "context": contexts[number],
            "answers": {"text": [], "answer_start": []},
            "title": "t",
        }
        for q, number in (("cat", 0), ("soup", 1), ("dog", 0))
    ]
    (tmp_path / "rows.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = dict.fromkeys(("train", "validation"), str(tmp_path / "rows.json"))
    data = {"path": "json", "data_files": files, "validation_split": "validation", "test_split": None}
    given = {"name": "qa", "kind": "question_answering", "doc_stride": 3, "group": group, "data": data}
    task = tasks.load(kinds.parse(given), tiny_tokenizer, 12, 0)
    assert len(task.splits["train"]) > 3
    assert task.splits["train"].groups == expected
    count = len(set(expected))
    assert task.warnings[-1].startswith(f"{count} of {count} {what} of validation are in train too")


def test_an_example_of_several_rows_has_the_group_of_the_first(
    tmp_path: Path, writing_tokenizer: Any
) -> None:
    content = writing_settings(tmp_path, group="user")
    lines = (
        json.dumps({"source": source, "target": target, "user": user}) + "\n"
        for (source, target), user in zip(PAIRS, "aabb", strict=True)
    )
    (tmp_path / "train.jsonl").write_text("".join(lines))
    (tmp_path / "validation.jsonl").write_text((tmp_path / "train.jsonl").read_text())
    task = tasks.load(kinds.parse(content), writing_tokenizer, 16, 0, architecture="decoder")
    assert task.splits["train"].groups == [0, 0, 1]
