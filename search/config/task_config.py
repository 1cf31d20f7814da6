"""A study file's section `tasks`: what tasks of every kind have. The rest is in the kinds' own files (`search/tasks/`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from search.config.values import HyperparameterConfig, Name, Section

FILE_FORMATS = ("csv", "json", "parquet", "text", "conll", "squad")
"""Formats of own files, each named in data_files."""


class DataConfig(Section):
    """What datasets.load_dataset is given, or files of a format of their own."""

    path: str = Field(
        description="A hub data set, a format (csv, json, parquet, text, conll, squad) with data_files, or your own "
        "Python file (.py) with a function splits() that returns {split: [row, ...]}"
    )
    name: str | None = Field(default=None, description="Configuration of the data set")
    data_files: dict[str, str] | None = Field(
        default=None, validate_default=True, description="File of each split, relative to the study file"
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub data set")
    train_split: str = Field(default="train", description="Split to train on")
    validation_split: str | None = Field(
        default=None, description="Split the search is scored on; null cuts one from train"
    )
    test_split: str | None = Field(
        default="test", validate_default=True, description="Split read once, for the finalists; null for none"
    )
    validation_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="Share of train cut off where there is no validation split"
    )

    @field_validator("data_files")
    @classmethod
    def _files_of_a_format(cls, value: dict[str, str] | None, info: ValidationInfo) -> dict[str, str] | None:
        path = info.data.get("path", "")
        if path in FILE_FORMATS and not value:
            raise ValueError(f"{path} needs its files: data_files: {{train: FILE, test: FILE}}")
        if path.endswith(".py") and value:
            raise ValueError("must be left out: your own Python file returns the rows itself")
        return value

    @field_validator("validation_split", "test_split")
    @classmethod
    def _another_split(cls, value: str | None, info: ValidationInfo) -> str | None:
        for other in ("train_split", "validation_split"):
            if value is not None and value == info.data.get(other):
                raise ValueError(f"must be another split than {other}, not {value!r} again")
        return value


class TaskConfig(Section):
    """What every task has: its data, and how much of it is used."""

    example: ClassVar[dict[str, Any]] = {}
    """Values that `promptfront init` writes, for the user to replace."""

    name: Name = Field(max_length=40, description="Name of the task")
    kind: str
    data: DataConfig
    max_train_samples: int | None = Field(
        default=None, ge=1, description="Training rows, drawn with the study's seed"
    )
    max_validation_samples: int | None = Field(
        default=None, ge=1, description="Validation rows, drawn with the study's seed"
    )
    max_test_samples: int | None = Field(
        default=None, ge=1, description="Test rows, drawn with the study's seed"
    )
    loss_weight: HyperparameterConfig | None = Field(
        default=None,
        description="Weight of the task's loss, normalized over the tasks: a value, a list or a range; null: searched "
        "where there are several tasks",
    )

    @property
    def request(self) -> dict[str, str]:
        """What is given for one answer, by the columns of the form of answer (`methods/answers/`), with an example of each."""
        return {"text": "some text"}

    @property
    def answer_type(self) -> Literal["text", "texts", "number"]:
        """What one answer is."""
        return "text"

    if TYPE_CHECKING:  # a field of each kind's own, after those that it is checked against

        @property
        def metric(self) -> Any: ...

    @property
    def language_model(self) -> bool:
        """Whether the task needs the model's own head for words."""
        return False

    @property
    def has_readout(self) -> bool:
        """Whether the task's head reads a whole text, as the hyperparameter `readout` says."""
        return False

    @field_validator("loss_weight")
    @classmethod
    def _a_weight(cls, value: Any) -> Any:
        ends = [value.min, value.max] if hasattr(value, "min") else value
        for end in ends if isinstance(ends, list) else [ends]:
            if end is not None and (isinstance(end, bool | str) or end <= 0):
                raise ValueError(f"must be above 0, not {end}")
        return value
