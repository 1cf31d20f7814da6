"""The section `tasks` of a study file: settings of every kind of task. Each kind adds its own in `search/tasks/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from search.config.values import HyperparameterConfig, Name, Section

FILE_FORMATS = ("csv", "json", "parquet", "text", "conll", "squad")
"""Formats of the user's own files, which data_files names."""


class DataConfig(Section):
    """Where the data come from: arguments of datasets.load_dataset, or your own files."""

    path: str = Field(
        description="A data set on the hub, a file format (csv, json, parquet, text, conll, squad) with data_files, or your "
        "own Python file (.py) with a function splits() that returns {split: [row, ...]}"
    )
    name: str | None = Field(default=None, description="Name of the data set's configuration on the hub")
    data_files: dict[str, str] | None = Field(
        default=None, validate_default=True, description="A file for each split, relative to the study file"
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of the data set on the hub")
    train_split: str = Field(default="train", description="Split to train on")
    validation_split: str | None = Field(
        default=None, description="Split on which the search is scored; null: cut from train"
    )
    test_split: str | None = Field(
        default="test",
        validate_default=True,
        description="Split on which finalists are scored, once; null: none",
    )
    validation_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of train to use for validation if validation_split is null",
    )

    @field_validator("data_files")
    @classmethod
    def _files_of_a_format(cls, value: dict[str, str] | None, info: ValidationInfo) -> dict[str, str] | None:
        path = info.data.get("path", "")
        if path in FILE_FORMATS and not value:
            raise ValueError(f"must give the {path} files: data_files: {{train: FILE, test: FILE}}")
        if path.endswith(".py") and value:
            raise ValueError("must be left out, because your Python file returns the rows itself")
        return value

    @field_validator("validation_split", "test_split")
    @classmethod
    def _another_split(cls, value: str | None, info: ValidationInfo) -> str | None:
        for other in ("train_split", "validation_split"):
            if value is not None and value == info.data.get(other):
                raise ValueError(f"must be another split than {other}, which is {value!r} too")
        return value


class TaskConfig(Section):
    """The settings of every task: its data, and how much of them is used."""

    example: ClassVar[dict[str, Any]] = {}
    """Values that `promptfront init` writes, for the user to replace."""

    name: Name = Field(max_length=40, description="Name of the task")
    kind: str
    data: DataConfig
    max_train_samples: int | None = Field(
        default=None,
        ge=1,
        description="Use only this many training rows, drawn with the study's seed; null: all",
    )
    max_validation_samples: int | None = Field(
        default=None, ge=1, description="Use only this many validation rows; null: all"
    )
    max_test_samples: int | None = Field(
        default=None, ge=1, description="Use only this many test rows; null: all"
    )
    group: str | None = Field(
        default=None,
        description="Column that says which examples belong together, such as the user or the article that they are from: "
        "the report's intervals are then for new groups; null: each example stands alone, but questions on one context "
        "belong together",
    )
    loss_weight: HyperparameterConfig | None = Field(
        default=None,
        description="Weight of the task's loss, normalized over the tasks: a value, a list or a range; null: searched if "
        "there are several tasks",
    )

    @property
    def request(self) -> dict[str, str]:
        """The inputs for one answer by column (see `methods/answers/`), with an example of each."""
        return {"text": "some text"}

    @property
    def answer_type(self) -> Literal["text", "texts", "number"]:
        """The type of an answer."""
        return "text"

    if TYPE_CHECKING:  # each kind defines this field itself, after the fields that it is checked against

        @property
        def metric(self) -> Any: ...

    @property
    def language_model(self) -> bool:
        """Whether the task needs the model's own language-model head."""
        return False

    @property
    def has_readout(self) -> bool:
        """Whether the task's head reads a whole text, so that the hyperparameter `readout` has an effect."""
        return False

    @field_validator("loss_weight")
    @classmethod
    def _a_weight(cls, value: Any) -> Any:
        ends = [value.min, value.max] if hasattr(value, "min") else value
        for end in ends if isinstance(ends, list) else [ends]:
            if end is not None and (isinstance(end, bool | str) or end <= 0):
                raise ValueError(f"must be above 0, not {end}")
        return value
