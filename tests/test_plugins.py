"""A method and a kind of task from another package: one module each, and nothing of ours is edited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.search.conftest import _model_folder, study, tiny_model, write_study  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parent.parent

METHOD = '''
"""Echo tuning: one prompt in front of the text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from methods import method
from methods.config import hyperparameter
from methods.sites.config import InputConfig
from methods.sites.input_site import prompt_injection
from methods.space import Int


@dataclass(frozen=True)
class Config(InputConfig):
    num_virtual_tokens: int = hyperparameter(3, allowed=Int(2, 5), help="virtual tokens P in front of the text")


class Method(method.Method):
    title = "Echo tuning"

    def __init__(self, config, backbone, num_tasks):
        super().__init__(config, backbone, num_tasks)
        self.prompt = nn.Parameter(
            torch.empty(num_tasks, config.num_virtual_tokens, backbone.shape.embedding_size)
        )

    @torch.no_grad()
    def initialize(self, start):
        self.prompt.normal_(std=0.02, generator=start.generator)

    def forward(self, rows, backbone):
        return prompt_injection(self.prompt, rows, self.config.placement, backbone)
'''

KIND = '''
"""Text length: whether a text has many words; nobody has to label anything."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from search.config.task_config import TaskConfig
from search.config.values import Template, template_columns
from search.tasks import sources
from search.tasks.label_problems import OneLabel
from search.tasks.splits import Splits, split_name, texts
from search.tasks.task import Row, Split, encode_text, label_words

LABELS = ("short", "long")


class Config(TaskConfig):
    """Whether a text has many words."""

    example = {"name": "lengths", "kind": "text_length", "text": "text"}

    kind: Literal["text_length"] = Field(description="Kind of the task")
    text: Template = Field(description="Column of the text")
    words: int = Field(default=7, ge=1, description="Words from which a text is long")
    metric: Literal["accuracy"] = Field(default="accuracy", description="Metric, maximized")

    @property
    def has_readout(self) -> bool:
        return True


class TextLength(OneLabel):
    kind: ClassVar[str] = "text_length"


def load(config, tokenizer, max_length, seed, splits, architecture):
    source = Splits(config, _columns(config), seed)
    made = {split: _split(config, source, split, tokenizer, max_length) for split in splits}
    return TextLength(
        name=config.name, metric=config.metric, labels=LABELS, label_ids=label_words(LABELS, tokenizer),
        splits=made, encode=partial(encode_text, tokenizer),
    )


def count(config, split):
    name, field = split_name(config, split)
    return sources.open_source(config.data).count(name, _columns(config), field)


def _columns(config):
    return dict.fromkeys(template_columns(config.text), "text")


def _split(config, source, split, tokenizer, max_length):
    table = source.table(split)
    rows = texts(config.text, table, "text", source.name(split), source.draw(split, len(table)))
    ids = tokenizer(rows, truncation=True, max_length=max_length)["input_ids"]
    targets = [int(len(text.split()) >= config.words) for text in rows]
    made = [Row(each, [target]) for each, target in zip(ids, targets, strict=True)]
    return Split(made, sources.fingerprint((text,) for text in rows))
'''

ENTRY_POINTS = """\
[promptfront.methods]
echo_tuning = other_package.echo_tuning

[promptfront.kinds]
text_length = other_package.text_length
"""


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Folder of an installed package that offers a method and a kind of task."""
    package, info = tmp_path / "site" / "other_package", tmp_path / "site" / "other_package-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "echo_tuning.py").write_text(METHOD.lstrip())
    (package / "text_length.py").write_text(KIND.lstrip())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path / "site"


def run(other: Path, program: str, *arguments: str, timeout: float = 120) -> str:
    """What a Python program prints where the other package is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(other)])}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(other: Path, *arguments: str) -> str:
    """What a command says that ends with exit code 2."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(other)])}
    command = [sys.executable, "-m", "search.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


COMMAND = "import sys; from search.cli.main import main; sys.argv[0] = 'promptfront'; main()"


def test_they_are_listed_and_written(other: Path, tmp_path: Path) -> None:
    told = run(other, COMMAND, "methods")
    assert "echo_tuning" in told
    assert "Echo tuning: one prompt in front of the text." in told
    path = tmp_path / "new.yaml"
    run(other, COMMAND, "init", str(path), "--kind", "text_length")
    assert "echo_tuning" in path.read_text()
    content = yaml.safe_load(path.read_text())
    assert content["tasks"][0]["kind"] == "text_length"
    run(
        other,
        f"from pathlib import Path; from search.config.study_file import load; load(Path({str(path)!r}))",
    )


def test_one_of_our_names_is_refused(other: Path) -> None:
    points = next(other.glob("*.dist-info/entry_points.txt"))
    points.write_text(ENTRY_POINTS.replace("echo_tuning =", "prompt_tuning ="))
    program = "import methods\ntry: methods.names()\nexcept ValueError as error: print(error)"
    assert "promptfront has a method 'prompt_tuning' already" in run(other, program)


def test_two_packages_may_not_offer_one_name(other: Path) -> None:
    info = other / "second_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: second-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS.replace("other_package", "second_package"))
    assert "both offer a method 'echo_tuning'" in refused(other, "methods")
    assert "both offer a kind 'text_length'" in refused(other, "init", str(other / "new.yaml"))


@pytest.mark.parametrize(
    ("module", "text", "command", "said"),
    [
        ("echo_tuning", METHOD + "\nimport is_not_there\n", "methods", "No module named 'is_not_there'. Mend or"),
        ("echo_tuning", "Config = Method = 3\n", "methods", "must have a Config"),
        ("text_length", "import is_not_there\n", "init", "No module named 'is_not_there'. Mend or uninstall"),
        ("text_length", "Config = 3\n", "init", "must have a Config"),
        ("text_length", KIND.replace('"text_length"]', '"length"]'), "init", "the field kind: Literal['text_length']"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_said_in_a_line(
    other: Path, module: str, text: str, command: str, said: str
) -> None:
    (other / "other_package" / f"{module}.py").write_text(text.lstrip())
    told = refused(other, command, *([str(other / "new.yaml")] if command == "init" else []))
    assert said in told
    assert len(told.strip().splitlines()) == 1


PROGRAM = """
import json, sys
import methods, search
from search.api import export
from search.config import study_file
from pathlib import Path

found = search.run(sys.argv[1])
config = study_file.load(Path(sys.argv[1]))
exported = export(config, found.report, "echo_tuning", Path(sys.argv[2]))
print(json.dumps({
    "methods": sorted(set(found.trials["method"])),
    "warnings": found.warnings,
    "answers": methods.load(exported.folder).predict(["a b", "c d e f g h i j"]),
}))
"""


@pytest.mark.slow
def test_a_study_runs_with_both(
    study: dict[str, Any],  # noqa: F811 - the fixture
    other: Path,
    tmp_path: Path,
) -> None:
    """From the study file to trained, exported, logged in MLflow, loaded again, and asked."""
    study["tasks"][0] = {
        "name": "lengths", "kind": "text_length", "text": "text", "data": study["tasks"][0]["data"],
    }  # fmt: skip
    study["methods"] = {"echo_tuning": {}}
    study["search"] = {"trials_per_method": 2}
    written = write_study(study, tmp_path)
    told = run(other, PROGRAM, str(written), str(tmp_path / "exported"), timeout=280)
    said = json.loads(told.splitlines()[-1])
    assert said["methods"] == ["echo_tuning"]
    assert said["warnings"] == []
    assert set(said["answers"]) <= {"short", "long"}
    assert len(said["answers"]) == 2
