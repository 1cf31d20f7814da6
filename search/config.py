"""A study file's content as one frozen, typed, serializable object.

Sections and names follow what users of Ludwig, axolotl and Hugging Face's Trainer know. The field
descriptions are what `promptfront init` writes as comments and what the error messages quote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from search.values import Name, Resource, Sha256, Template

Scalar = bool | int | float | str

FILE_FORMATS = ("csv", "json", "parquet", "text")
"""Formats of own files, each named in data_files."""


class Section(BaseModel):
    """A part of the study file: unknown keys are errors, text is no number, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The frozen backbone."""

    name_or_path: str = Field(
        description="A Hugging Face hub id, a local folder, or package:NAME for weights that an "
        "installed Python package carries"
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub id")
    sha256: Sha256 | None = Field(
        default=None, description="Expected sha256 of model.safetensors, checked before anything starts"
    )
    max_length: int = Field(default=128, ge=4, description="Longest text in tokens; longer ones are cut")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Number type of the backbone"
    )
    trust_remote_code: bool = Field(
        default=False, description="Run model code from the hub; only if you trust it"
    )


class DataConfig(Section):
    """What datasets.load_dataset is given."""

    path: str = Field(
        description="A hub data set, csv / json / parquet / text with data_files, or your own Python "
        "file (.py) with a function splits() that returns {split: [row, ...]}"
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
    """One task: its data, its columns and its metric."""

    name: Name = Field(max_length=40, description="Name of the task")
    kind: Literal["sequence_classification", "token_classification"] = Field(
        default="sequence_classification",
        description="Kind of the task: a label for a text, or for each word",
    )
    data: DataConfig
    text: Template = Field(
        description='Column of the text, or a template: "{title} {body}"; of words, the column with their list'
    )
    text_pair: Template | None = Field(
        default=None, validate_default=True, description="Column of a second text, or a template"
    )
    label: str = Field(description="Column of the label; of words, the column with the list of their tags")
    metric: Literal["accuracy", "macro_f1", "matthews_correlation", "entity_f1"] = Field(
        default="accuracy", description="Metric, maximized"
    )
    few_shot: int | None = Field(
        default=None, ge=1, description="Training rows per class, drawn with the study's seed"
    )
    max_train_samples: int | None = Field(
        default=None, ge=1, description="Training rows, drawn with the study's seed"
    )
    max_validation_samples: int | None = Field(
        default=None, ge=1, description="Validation rows, drawn with the study's seed"
    )
    max_test_samples: int | None = Field(
        default=None, ge=1, description="Test rows, drawn with the study's seed"
    )
    loss_weight: float = Field(
        default=1.0, gt=0, description="Weight of the task's loss, normalized over the tasks"
    )

    @field_validator("text", "text_pair", "metric", "few_shot")
    @classmethod
    def _fits_the_kind(cls, value: Any, info: ValidationInfo) -> Any:
        words = info.data.get("kind") == "token_classification"
        field = info.field_name
        if field == "metric" and value == ("matthews_correlation" if words else "entity_f1"):
            raise ValueError(f"must be another metric than {value}, which is not one of this kind of task")
        if words and field == "text" and "{" in value:
            raise ValueError("must be the column with the list of words, not a template")
        if words and field == "text_pair" and value is not None:
            raise ValueError("must be left out: words have one text")
        if words and field == "few_shot" and value is not None:
            raise ValueError("must be left out, words have no class by row; use max_train_samples")
        return value


class RangeConfig(Section):
    """A range of a hyperparameter, as written in the study file."""

    min: float
    max: float
    log: bool = False


HYPERPARAMETER_FORMS = ("value", "list", "range")


def _form(value: object) -> str:
    """Which form a hyperparameter is written in, so that an error speaks of that form only."""
    if isinstance(value, dict | RangeConfig):
        return "range"
    return "list" if isinstance(value, list) else "value"


HyperparameterConfig = Annotated[
    Annotated[Scalar, Tag("value")]
    | Annotated[list[Scalar], Tag("list")]
    | Annotated[RangeConfig, Tag("range")],
    Discriminator(_form),
]
"""A value (not searched), a list (a choice), or a range; without any, the method's own space."""


class SearchConfig(Section):
    """How much is tried, and what proposes it."""

    trials_per_method: int = Field(
        default=16, ge=1, description="Trials of each method, the published default first"
    )
    sampler: Literal["tpe", "random"] = Field(default="tpe", description="Optuna sampler")
    max_hours: float | None = Field(
        default=None, gt=0, description="Wall-clock limit; then a partial report is written (exit 4)"
    )
    early_stopping: bool = Field(
        default=True, description="Successive halving between the evaluations of a trial"
    )
    eta: int = Field(
        default=3, ge=2, description="A trial stays in the race while it is in the top 1/eta of its rung"
    )


class TrainingConfig(Section):
    """How each trial is trained."""

    max_steps: int = Field(default=300, ge=1, description="Optimizer steps of a trial")
    eval_steps: int = Field(
        default=50, ge=1, validate_default=True, description="Steps between evaluations on validation"
    )
    per_device_train_batch_size: int = Field(default=16, ge=1, description="Rows of a step")
    per_device_eval_batch_size: int = Field(default=64, ge=1, description="Rows of an evaluation batch")
    warmup_ratio: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps that warm the learning rate up"
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Learning rate after warm-up"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay, on prompts and heads")
    head_learning_rate: float = Field(
        default=3e-3, gt=0, description="Learning rate of the heads (head_only searches its own)"
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradient clipping, per trial")

    @field_validator("eval_steps")
    @classmethod
    def _within_the_trial(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("max_steps", value):
            raise ValueError(f"must be at most max_steps, which is {info.data['max_steps']}, not {value}")
        return value


class FinalistsConfig(Section):
    """The second stage: the best configurations retrained with fresh seeds and scored once on test."""

    num_seeds: int = Field(
        default=5, ge=1, description="Fresh seeds of each finalist; 3 give rough intervals"
    )
    epsilon: float = Field(default=0.01, ge=0, description="Difference in score that does not matter to you")


class ClusterConfig(Section):
    """Where trials run."""

    address: str | None = Field(
        default=None, description="null: this machine; auto or host:port: a running Ray cluster"
    )
    cpus_per_trial: Resource = Field(default=1, gt=0, description="CPU cores of a trial")
    gpus_per_trial: Resource | None = Field(
        default=None, ge=0, description="GPUs of a trial, fractions allowed; null: 1 if the cluster has one"
    )
    max_concurrent_trials: int | None = Field(
        default=None, ge=1, description="Trials at once; null: as many as fit"
    )


class TrackingConfig(Section):
    """Where results are kept. URLs of SQLite, PostgreSQL or MySQL, or an MLflow server's."""

    storage: str | None = Field(
        default=None, description="Optuna storage; null: sqlite in output_dir/optuna.db"
    )
    mlflow_uri: str | None = Field(
        default=None,
        description="MLflow; null: MLFLOW_TRACKING_URI if set, else sqlite in output_dir/mlflow.db",
    )

    @field_validator("storage", "mlflow_uri")
    @classmethod
    def _a_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        allowed = ["sqlite", "postgresql", "mysql"] + (
            ["http", "https"] if info.field_name == "mlflow_uri" else []
        )
        scheme = (value or "").partition(":")[0].partition("+")[0]
        if value is not None and ("://" not in value or scheme not in allowed):
            names = ", ".join(f"{name}://..." for name in allowed)
            raise ValueError(f"must be a URL: {names}; not {value!r}")
        return value


def _or_nothing(value: object) -> object:
    """A section with nothing in it, as YAML reads `head_only:`."""
    return {} if value is None else value


class StudyConfig(Section):
    """A study: one search over methods for one model and one set of tasks."""

    study: Name = Field(max_length=80, description="Name of the study")
    output_dir: Path = Field(
        default=Path("outputs"),
        strict=False,
        description="Folder of the results; each study has its own inside",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed from which every other seed is derived")
    model: ModelConfig
    tasks: list[TaskConfig] = Field(min_length=1)
    methods: dict[str, Annotated[dict[str, HyperparameterConfig], BeforeValidator(_or_nothing)]] = Field(
        min_length=1
    )
    search: SearchConfig = SearchConfig()
    training: TrainingConfig = TrainingConfig()
    finalists: FinalistsConfig = FinalistsConfig()
    cluster: ClusterConfig = ClusterConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, content: Any) -> Any:
        """A section whose every line is a comment keeps its defaults."""
        if not isinstance(content, dict):
            return content
        optional = ("search", "training", "finalists", "cluster", "tracking")
        return {key: value for key, value in content.items() if value is not None or key not in optional}

    @field_validator("tasks")
    @classmethod
    def _names_differ(cls, value: list[TaskConfig]) -> list[TaskConfig]:
        names = [task.name for task in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"must have different names; {', '.join(twice)} is there more than once")
        return value

    @property
    def folder(self) -> Path:
        """The study's own results: outputs/<study>."""
        return self.output_dir / self.study

    @property
    def storage_url(self) -> str:
        """The Optuna storage."""
        return self.tracking.storage or f"sqlite:///{(self.output_dir / 'optuna.db').as_posix()}"
