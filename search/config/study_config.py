"""A study file's content as one frozen, typed, serializable object.

Sections and names follow what users of Ludwig, axolotl and Hugging Face's Trainer know. The field
descriptions are what `promptfront init` writes as comments and what the error messages quote.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from search.config.kinds import AnyTaskConfig
from search.config.values import HyperparameterConfig, Name, Resource, Section, Sha256

Objective = Literal["mean", "worst"]
MeasuredCost = Literal["seconds", "peak_memory_bytes", "latency_seconds"]


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


class SearchConfig(Section):
    """How much is tried, and what proposes it."""

    trials_per_method: int = Field(
        default=16, ge=1, description="Trials of each method, the published default first"
    )
    objective: Objective = Field(
        default="mean",
        description="Score of a configuration: the mean of the tasks' metrics, or the worst of them",
    )
    measured_costs: list[MeasuredCost] = Field(
        default=[],
        description="Objectives beside the score and the deployed parameters, all of them minimized: seconds of "
        "training, peak_memory_bytes, latency_seconds of an answer. They are measured beside other trials, steer the sampler "
        "only, and never stop a trial",
    )
    sampler: Literal["tpe", "random", "gp", "nsga2", "grid"] = Field(
        default="tpe",
        description="Optuna sampler; gp takes seconds to propose a trial; grid needs lists or whole numbers",
    )
    from_: str | None = Field(
        default=None,
        alias="from",
        description="Another study whose best configurations go first: its name in the same storage, its folder, "
        "or STORAGE_URL#NAME",
    )
    allocation: Literal["equal", "adaptive"] = Field(
        default="equal",
        description="Trials of the methods: equally many, or, after half of them, only for methods that can still "
        "reach the leader",
    )
    max_trials: int | None = Field(
        default=None, ge=1, description="Limit of trials, finalists' runs included; then as with max_hours"
    )
    max_hours: float | None = Field(
        default=None, gt=0, description="Wall-clock limit; then a partial report is written (exit 4)"
    )
    max_gpu_hours: float | None = Field(
        default=None,
        gt=0,
        description="Limit of GPUs times hours that trials hold them; then as with max_hours",
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
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradient clipping, per trial")
    task_sampling: Literal["proportional", "equal", "temperature"] = Field(
        default="proportional",
        description="Rows of several tasks in a batch: as many as the tasks have, equally many, or in between",
    )
    sampling_temperature: float = Field(
        default=2.0,
        ge=1,
        description="Of task_sampling: temperature; shares go with rows ** (1 / temperature)",
    )

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
    default: bool = Field(
        default=False, description="Retrain the published default too, to see what the search has gained"
    )


class ClusterConfig(Section):
    """Where trials run."""

    address: str | None = Field(
        default=None,
        description="null: this machine; auto or host:port: a running Ray cluster, on a node of it; "
        "http://host:8265: submitted to it through Ray Jobs",
    )
    cpus_per_trial: Resource = Field(default=1, gt=0, description="CPU cores of a trial")
    gpus_per_trial: Resource | None = Field(
        default=None, ge=0, description="GPUs of a trial, fractions allowed; null: 1 if the cluster has one"
    )
    max_concurrent_trials: int | None = Field(
        default=None, ge=1, description="Trials at once; null: as many as fit"
    )

    @field_validator("address")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if (
            value is None
            or value == "auto"
            or re.fullmatch(r"(https?://)?[^/\s]+:\d+/?|https?://[^/\s]+/?", value)
        ):
            return value
        if value.startswith("ray://"):
            raise ValueError(
                "must not be ray://, whose driver would run, and write, in the cluster: submit the study "
                f"through Ray Jobs instead, --address http://{value[6:].partition(':')[0] or 'HOST'}:8265"
            )
        raise ValueError(f"must be null, auto, host:port or http://host:8265, not {value!r}")

    @property
    def jobs(self) -> str | None:
        """Where Ray Jobs are submitted, if the study goes there."""
        return self.address if self.address and self.address.startswith(("http://", "https://")) else None


class TrackingConfig(Section):
    """Where results are kept: URLs of SQLite, PostgreSQL or MySQL, or an MLflow server's; for checkpoints any URI Ray takes."""

    storage: str | None = Field(
        default=None, description="Optuna storage; null: sqlite in output_dir/optuna.db"
    )
    mlflow_uri: str | None = Field(
        default=None,
        description="MLflow; null: MLFLOW_TRACKING_URI if set, else sqlite in output_dir/mlflow.db",
    )
    checkpoints: str | None = Field(
        default=None,
        description="Folder that every node sees, or URI (s3://, gs://, abfs://, hdfs://), of the trials' checkpoints, each "
        "study in one of its name; null: output_dir/STUDY/checkpoints",
    )

    @field_validator("checkpoints")
    @classmethod
    def _a_place(cls, value: str | None) -> str | None:
        if value is not None and re.match(r"[A-Za-z0-9+]+:(?!//)", value):
            raise ValueError(f"must be a folder, or a URI such as s3://bucket/path, not {value!r}")
        if value is not None and urlsplit(value).password is not None:
            raise ValueError(
                "must be without a password, which would be in every result: give them in the environment of the "
                "cluster's nodes (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, ...)"
            )
        return value

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
    tasks: list[AnyTaskConfig] = Field(min_length=1)
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

    @field_validator("output_dir", mode="before")
    @classmethod
    def _a_folder(cls, value: object) -> object:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                f"must be a folder of the driver's machine, not {value!r}: checkpoints, which every node writes and reads, "
                "may have a URI, tracking.checkpoints"
            )
        return value

    @field_validator("tasks")
    @classmethod
    def _names_differ(cls, value: list[AnyTaskConfig]) -> list[AnyTaskConfig]:
        names = [task.name for task in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"must have different names; {', '.join(twice)} is there more than once")
        return value

    @property
    def language_model(self) -> bool:
        """Whether the model's own head for words is needed."""
        return any(task.language_model for task in self.tasks)

    @property
    def folder(self) -> Path:
        """The study's own results: outputs/<study>."""
        return self.output_dir / self.study

    @property
    def storage_url(self) -> str:
        """The Optuna storage."""
        return self.tracking.storage or f"sqlite:///{(self.output_dir / 'optuna.db').as_posix()}"
