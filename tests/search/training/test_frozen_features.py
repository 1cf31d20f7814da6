"""What the bare model makes of rows is computed once, and a head that reads it trains and predicts as with a forward each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from methods.backbone.backbone import Backbone
from methods.heads.heads import LinearHead, SequenceHead, TokenHead
from search import tasks
from search.config import kinds
from search.config.study_config import TrainingConfig
from search.tasks import Task
from search.training import frozen_features
from search.training.evaluation import predict
from search.training.frozen_features import query_features, read_features
from search.training.steps.pack import Pack
from search.training.trial import Trial

SETTINGS = TrainingConfig(max_steps=30, eval_steps=10, per_device_train_batch_size=4)


@pytest.fixture
def tagged(tmp_path: Path, tiny_tokenizer: Any) -> Task:
    lines = [
        '{"words": ["the", "cat", "and", "bread"], "tags": ["O", "B-a", "O", "B-b"]}',
        '{"words": ["soup"], "tags": ["B-b"]}',
        '{"words": ["old", "dog"], "tags": ["O", "B-a"]}',
    ]
    (tmp_path / "tags.jsonl").write_text("\n".join(lines * 10) + "\n")
    content = {
        "name": "tags",
        "kind": "token_classification",
        "data": {"path": "json", "data_files": {"train": str(tmp_path / "tags.jsonl")}, "test_split": None},
    }
    return tasks.load(kinds.parse(content), tiny_tokenizer, 12, seed=0, splits=("train", "validation"))


def trained(backbone: Backbone, task: Task, others: int = 0, **given: Any) -> tuple[list[float], list[Any]]:
    """Losses, and predictions of validation, of a head alone or in a pack."""
    module = methods.get("head_only")
    trial = Trial(module.Method, module.Config(**given), backbone, [task], [1.0], SETTINGS, seed=3)
    pack = Pack()
    pack.attach(trial)
    for seed in range(others):
        other = methods.get("prompt_tuning")
        pack.attach(
            Trial(other.Method, other.Config(num_virtual_tokens=3), backbone, [task], [1.0], SETTINGS, seed)
        )
    losses = [pack.step()[0] for _ in range(SETTINGS.max_steps)]
    assert all(isinstance(loss, float) for loss in losses)
    return losses, predict(trial, 0, task.splits["validation"], backbone, 8)  # type: ignore[return-value]


@pytest.mark.parametrize("readout", ["first", "mean", "last"])
@pytest.mark.parametrize("others", [0, 2])
def test_a_head_trains_as_with_a_forward_each_time(
    readout: str, others: int, backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = trained(backbone, task, others, readout=readout, learning_rate=0.05)
    monkeypatch.setattr(methods.get("head_only").Method, "injects", True)
    each_time = trained(backbone, task, others, readout=readout, learning_rate=0.05)
    torch.testing.assert_close(known, each_time, rtol=1e-5, atol=1e-6)


def test_a_head_on_tokens_does_too(backbone: Backbone, tagged: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    known = trained(backbone, tagged)
    monkeypatch.setattr(methods.get("head_only").Method, "injects", True)
    torch.testing.assert_close(known, trained(backbone, tagged), rtol=1e-5, atol=1e-6)


def test_the_model_runs_each_row_once(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    forward = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda *given: rows.append(len(given[0])) or forward(*given))
    for _ in range(3):
        trained(backbone, task)
    assert sum(rows) == len(task.splits["train"]) + len(task.splits["validation"])


def test_of_many_more_rows_than_are_trained_on_only_those_run(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.training.trial._TRIALS", 0)
    rows = []
    forward = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda *given: rows.append(len(given[0])) or forward(*given))
    trained(backbone, task)
    assert rows[: SETTINGS.max_steps] == [4] * SETTINGS.max_steps


def test_what_does_not_fit_lies_in_a_file(
    backbone: Backbone, task: Task, tagged: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = [(task, SequenceHead("mean", 16, 3)), (tagged, TokenHead(16, 3))]
    before = [read_features(each.splits["train"], backbone, head) for each, head in heads]
    query = query_features(task.splits["train"], backbone, "last")
    frozen_features.forget()
    monkeypatch.setattr(frozen_features, "_MOST_BYTES", 0)
    for (each, head), known in zip(heads, before, strict=True):
        found = read_features(each.splits["train"], backbone, head)
        assert torch.equal(found.values_XH, known.values_XH)
        assert found.ends == known.ends
    assert torch.equal(query_features(task.splits["train"], backbone, "last"), query)


def test_rows_of_several_places_are_found(backbone: Backbone, tagged: Task) -> None:
    split, head = tagged.splits["train"], TokenHead(16, 3)
    assert isinstance(head, LinearHead)
    known = read_features(split, backbone, head)
    whole = torch.split(known.values_XH, [row.places for row in split.rows])
    assert torch.equal(known.of([2, 0]), torch.cat([whole[2], whole[0]]))


def test_less_memory_takes_fewer_rows_at_once(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, split = SequenceHead("mean", 16, 3), task.splits["train"]
    whole = read_features(split, backbone, head)
    frozen_features.forget()
    forward = backbone.forward

    def little(*given: Any) -> torch.Tensor:
        if len(given[0]) > 16:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return forward(*given)

    monkeypatch.setattr(backbone, "forward", little)
    torch.testing.assert_close(read_features(split, backbone, head).values_XH, whole.values_XH)
