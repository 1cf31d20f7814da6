"""A study file's content as one frozen, typed, serializable object.

Sections and names follow what users of Ludwig, axolotl and Hugging Face's Trainer know. The field
descriptions are what `promptfront init` writes as comments and what the error messages quote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Scalar = bool | int | float | str


class Section(BaseModel):
    """A part of the study file: unknown keys are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(Section):
    """The frozen backbone."""

    name_or_path: str = Field(
        description="A Hugging Face hub id, a local folder, or package:NAME for weights that an "
        "installed Python package carries"
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id")
    sha256: str | None = Field(None, description="Expected sha256 of the weights file, checked before anything starts")
    max_length: int = Field(128, ge=4, description="Longest text in tokens; longer ones are cut")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Number type of the backbone")
    trust_remote_code: bool = Field(False, description="Run model code from the hub; only if you trust it")


class DataConfig(Section):
    """What datasets.load_dataset is given."""

    path: str = Field(
        description="A hub data set, csv / json / parquet / text with data_files, or your own Python "
        "file (.py) with a function splits() that returns {split: [row, ...]}"
    )
    name: str | None = Field(None, description="Configuration of the data set")
    data_files: dict[str, str] | None = Field(None, description="File of each split, relative to the study file")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub data set")
    train_split: str = Field("train", description="Split to train on")
    validation_split: str | None = Field(None, description="Split the search is scored on; null cuts one from train")
    test_split: str | None = Field("test", description="Split read once, for the finalists; null for none")
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="Share of train cut off where there is no validation split")


class TaskConfig(Section):
    """One task: its data, its columns and its metric."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=40, description="Name of the task")
    kind: Literal["sequence_classification"] = Field("sequence_classification", description="Kind of the task")
    data: DataConfig
    text: str = Field(description='Column of the text, or a template: "{title} {body}"')
    text_pair: str | None = Field(None, description="Column of a second text")
    label: str = Field(description="Column of the label")
    metric: Literal["accuracy", "macro_f1", "matthews_correlation"] = Field("accuracy", description="Metric, maximized")
    few_shot: int | None = Field(None, ge=1, description="Training rows per class, drawn with the study's seed")
    max_train_samples: int | None = Field(None, ge=1, description="Training rows, drawn with the study's seed")
    max_validation_samples: int | None = Field(None, ge=1, description="Validation rows, drawn with the study's seed")
    max_test_samples: int | None = Field(None, ge=1, description="Test rows, drawn with the study's seed")
    loss_weight: float = Field(1.0, gt=0, description="Weight of the task's loss, normalized over the tasks")


class RangeConfig(Section):
    """A range of a hyperparameter, as written in the study file."""

    min: float
    max: float
    log: bool = False


HyperparameterConfig = Scalar | list[Scalar] | RangeConfig
"""A value (not searched), a list (a choice), or a range; without any, the method's own space."""


class SearchConfig(Section):
    """How much is tried, and what proposes it."""

    trials_per_method: int = Field(16, ge=1, description="Trials of each method, the published default first")
    sampler: Literal["tpe", "random"] = Field("tpe", description="Optuna sampler")
    max_hours: float | None = Field(None, gt=0, description="Wall-clock limit; then a partial report is written (exit 4)")
    early_stopping: bool = Field(True, description="Successive halving between the evaluations of a trial")
    eta: int = Field(3, ge=2, description="A trial stays in the race while it is in the top 1/eta of its rung")


class TrainingConfig(Section):
    """How each trial is trained."""

    max_steps: int = Field(300, ge=1, description="Optimizer steps of a trial")
    eval_steps: int = Field(50, ge=1, description="Steps between evaluations on validation")
    per_device_train_batch_size: int = Field(16, ge=1, description="Rows of a step")
    per_device_eval_batch_size: int = Field(64, ge=1, description="Rows of an evaluation batch")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of the steps that warm the learning rate up")
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field("linear", description="Learning rate after warm-up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay, on prompts and heads")
    head_learning_rate: float = Field(3e-3, gt=0, description="Learning rate of the heads (head_only searches its own)")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping, per trial")


class FinalistsConfig(Section):
    """The second stage: the best configurations retrained with fresh seeds and scored once on test."""

    num_seeds: int = Field(5, ge=1, description="Fresh seeds of each finalist; 3 give rough intervals")
    epsilon: float = Field(0.01, ge=0, description="Difference in score that does not matter to you")


class ClusterConfig(Section):
    """Where trials run."""

    address: str | None = Field(None, description="null: this machine; auto or host:port: a running Ray cluster")
    cpus_per_trial: float = Field(1, gt=0, description="CPU cores of a trial")
    gpus_per_trial: float | None = Field(None, ge=0, description="GPUs of a trial, fractions allowed; null: 1 if the cluster has one")
    max_concurrent_trials: int | None = Field(None, ge=1, description="Trials at once; null: as many as fit")


class TrackingConfig(Section):
    """Where results are kept. URLs of SQLite, PostgreSQL or MySQL, or an MLflow server's."""

    storage: str | None = Field(None, description="Optuna storage; null: sqlite in output_dir/optuna.db")
    mlflow_uri: str | None = Field(
        None, description="MLflow; null: MLFLOW_TRACKING_URI if set, else sqlite in output_dir/mlflow.db"
    )


class StudyConfig(Section):
    """A study: one search over methods for one model and one set of tasks."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80, description="Name of the study")]
    output_dir: Path = Field(Path("outputs"), description="Folder of the results; each study has its own inside")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed from which every other seed is derived")
    model: ModelConfig
    tasks: list[TaskConfig] = Field(min_length=1)
    methods: dict[str, dict[str, HyperparameterConfig]] = Field(min_length=1)
    search: SearchConfig = SearchConfig()
    training: TrainingConfig = TrainingConfig()
    finalists: FinalistsConfig = FinalistsConfig()
    cluster: ClusterConfig = ClusterConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def folder(self) -> Path:
        """The study's own results: outputs/<study>."""
        return self.output_dir / self.study

    @property
    def storage_url(self) -> str:
        """The Optuna storage."""
        return self.tracking.storage or f"sqlite:///{(self.output_dir / 'optuna.db').as_posix()}"
