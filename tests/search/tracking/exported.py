"""Folders as `promptfront export` writes them, for each kind of task, of a method that was not trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from methods import answers, p_tuning_v2
from methods.backbone.backbone import Backbone
from methods.saved import folder as saved
from search.config import study_file
from search.config.study_config import StudyConfig
from search.export.folder import Exported

TEXTS = ["the cat and the dog", "bread with soup"]
QUESTIONS = {"question": ["the cat", "the soup"], "context": TEXTS}
SPANS = {"doc_stride": 2, "max_answer_length": 3, "unanswerable": False}
Case = tuple[dict[str, Any], dict[str, Any], tuple[str, ...], dict[str, list[Any]]]
CASES: dict[str, Case] = {
    "one label": ({}, {"problem_type": "single_label_classification"}, ("a", "b", "c"), {"text": TEXTS}),
    "a pair": (
        {"text_pair": "text"},
        {"problem_type": "single_label_classification"},
        ("a", "b", "c"),
        {"text": TEXTS, "text_pair": ["a horse", "salt"]},
    ),
    "labels": (
        {"problem_type": "multi_label_classification", "metric": "macro_f1"},
        {"problem_type": "multi_label_classification"},
        ("a", "b", "c"),
        {"text": TEXTS},
    ),
    "a number": (
        {"problem_type": "regression", "metric": "pearson"},
        {"problem_type": "regression", "mean": 1.0, "deviation": 2.0},
        ("score",),
        {"text": TEXTS},
    ),
    "tags": ({"kind": "token_classification"}, {}, ("x", "y"), {"text": TEXTS}),
    "answers": ({"kind": "question_answering"}, SPANS, (), QUESTIONS),
    "text": (
        {"kind": "text_generation", "source": "text", "target": "label"},
        {"max_target_length": 3, "end": 3},
        (),
        {"text": TEXTS},
    ),
}


def config_of(study: dict[str, Any], model: Path, *tasks: dict[str, Any]) -> StudyConfig:
    data = study["tasks"][0]["data"]
    files = {
        split: str(Path(study["output_dir"]).parent / file) for split, file in data["data_files"].items()
    }
    study["tasks"] = []
    for number, task in enumerate(tasks):
        mine = {"text": "text", "label": "label"} if "kind" not in task else {}
        study["tasks"].append(
            {"name": f"task{number}", "data": {**data, "data_files": files}, **mine, **task}
        )
    study["model"]["name_or_path"] = str(model)
    return study_file.parse(study)


ANSWERS = {
    "sequence_classification": "label",
    "token_classification": "tags",
    "question_answering": "span",
    "text_generation": "text",
}


def export(config: StudyConfig, folder: Path, *made_of: Case) -> Exported:
    """A folder as `promptfront export` writes it, of a prefix that is away from its start."""
    writes = config.language_model
    backbone = Backbone.load(config.model.name_or_path, language_model=writes)
    method = p_tuning_v2.Method(p_tuning_v2.Config(num_virtual_tokens=3), backbone, len(config.tasks))
    with torch.no_grad():
        for tensor in method.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2)))
    tasks = tuple(
        saved.SavedTask(task.name, ANSWERS[task.kind], labels, settings)
        for task, (_, settings, labels, _) in zip(config.tasks, made_of, strict=True)
    )
    readout = method.config.to_dict()["readout"]
    made = nn.ModuleList(
        answers.get(task.answer).head(readout, task.labels, task.settings, backbone) for task in tasks
    )
    for index, head in enumerate(made):
        head.initialize(torch.Generator().manual_seed(index))
        with torch.no_grad():
            for tensor in head.parameters():
                if tensor.requires_grad:
                    tensor.mul_(50)
    values = method.config.to_dict()
    content = saved.Saved(
        method="p_tuning_v2",
        config=values,
        form="p_tuning_v2",
        form_config=values,
        tasks=tasks,
        model=config.model.name_or_path,
        model_sha256=backbone.fingerprint(),
        max_length=12,
    )
    saved.save(folder, content, method, made)
    counts = dict.fromkeys(
        ("trained_parameters", "deployed_parameters", "head_parameters", "file_parameters"), 1
    )
    return Exported(
        folder, "p_tuning_v2", values, "p_tuning_v2-final-000", 0, 0.5, **counts, peft={}, peft_parameters={}
    )
