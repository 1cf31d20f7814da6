"""The settings of a study as one frozen, typed, serializable object.

Sections and names follow Ludwig, axolotl and Hugging Face's Trainer. `promptfront init` writes the field descriptions
as comments, and error messages quote them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from search.config.finalists_config import FinalistsConfig
from search.config.kinds import AnyTaskConfig
from search.config.values import HyperparameterConfig, Name, Resource, Section, Sha256

Objective = Literal["mean", "worst"]
MeasuredCost = Literal["seconds", "peak_memory_bytes", "latency_seconds"]


class ModelConfig(Section):
    """The frozen backbone."""

    name_or_path: str = Field(
        description="A Hugging Face hub id, a local folder, or package:NAME for weights inside an installed Python package"
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of the model on the hub")
    sha256: Sha256 | None = Field(
        default=None, description="Expected sha256 of model.safetensors, checked before the study starts"
    )
    max_length: int = Field(default=128, ge=4, description="Longest text in tokens; longer ones are cut")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Number type of the backbone; whatever a method trains is float32",
    )
    trust_remote_code: bool = Field(
        default=False, description="Run the model's own code from the hub; only if you trust it"
    )


class SearchConfig(Section):
    """How many trials run, and how their configurations are chosen."""

    trials_per_method: int = Field(
        default=16, ge=1, description="Trials of each method; the first uses the published defaults"
    )
    objective: Objective = Field(
        default="mean",
        description="Score of a configuration: the mean of the tasks' metrics, or the worst one",
    )
    measured_costs: list[MeasuredCost] = Field(
        default=[],
        description="Costs that the sampler minimizes, besides maximizing the score: seconds of training, "
        "peak_memory_bytes, latency_seconds of an answer. They are measured while other trials run, and never stop a trial",
    )
    sampler: Literal["tpe", "random", "gp", "nsga2", "grid"] = Field(
        default="gp",
        description="gp: a Gaussian process that starts around the published default; or Optuna's tpe, random or nsga2, which "
        "minimizes the deployed parameters too; grid needs lists or whole numbers",
    )
    from_: str | None = Field(
        default=None,
        alias="from",
        description="Another study whose best configurations are tried first: its name in the same storage, its folder, or "
        "STORAGE_URL#NAME",
    )
    allocation: Literal["equal", "adaptive"] = Field(
        default="equal",
        description="equal: every method gets the same number of trials; adaptive: after half of them, methods that cannot "
        "reach the best get no more",
    )
    max_trials: int | None = Field(
        default=None,
        ge=1,
        description="Most trials of the study, finalists included; at the limit it stops like max_hours",
    )
    max_hours: float | None = Field(
        default=None,
        gt=0,
        description="Most hours of the study; at the limit it stops with a partial report (exit code 4)",
    )
    max_gpu_hours: float | None = Field(
        default=None,
        gt=0,
        description="Most GPU-hours of the study; at the limit it stops like max_hours",
    )
    early_stopping: bool = Field(
        default=True, description="Stop trials that fall behind (successive halving)"
    )
    eta: int = Field(
        default=3, ge=2, description="At each check of early stopping, the best 1/eta of the trials continue"
    )


class TrainingConfig(Section):
    """How each trial is trained."""

    max_steps: int = Field(default=300, ge=1, description="Optimizer steps of each trial")
    eval_steps: int = Field(
        default=50, ge=1, validate_default=True, description="Steps between two evaluations on validation"
    )
    per_device_train_batch_size: int = Field(default=16, ge=1, description="Rows in each step")
    per_device_eval_batch_size: int = Field(default=64, ge=1, description="Rows in each evaluation batch")
    warmup_ratio: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps in which the learning rate warms up"
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Learning rate schedule after the warm-up"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay, for prompts and heads")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Clip the gradients of a trial to this norm")
    task_sampling: Literal["proportional", "equal", "temperature"] = Field(
        default="proportional",
        description="Share of each of several tasks in a batch: proportional to its rows, equal, or in between (temperature)",
    )
    sampling_temperature: float = Field(
        default=2.0,
        ge=1,
        description="With task_sampling: temperature, shares are proportional to rows ** (1 / sampling_temperature)",
    )

    @field_validator("eval_steps")
    @classmethod
    def _within_the_trial(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("max_steps", value):
            raise ValueError(f"must be at most max_steps ({info.data['max_steps']}), not {value}")
        return value


class ClusterConfig(Section):
    """Where trials run."""

    address: str | None = Field(
        default=None,
        description="null: this machine; auto or host:port: a running Ray cluster, launched on one of its nodes; "
        "http://host:8265: a Ray cluster, through Ray Jobs",
    )
    cpus_per_trial: Resource = Field(default=1, gt=0, description="CPU cores for each trial")
    gpus_per_trial: Resource | None = Field(
        default=None, ge=0, description="GPUs for each trial, fractions allowed; null: 1 if there is a GPU"
    )
    trials_per_gpu: int = Field(
        default=1,
        ge=1,
        description="Trials that train together on one copy of the frozen model, with what one trial has (gpus_per_trial, or "
        "cpus_per_trial without a GPU)",
    )
    max_concurrent_trials: int | None = Field(
        default=None, ge=1, description="Most trials at once; null: as many as fit"
    )

    @field_validator("trials_per_gpu")
    @classmethod
    def _of_whole_gpus(cls, value: int, info: ValidationInfo) -> int:
        share = info.data.get("gpus_per_trial")
        if value > 1 and share is not None and share % 1:
            raise ValueError(
                f"must be 1 with gpus_per_trial {share:g}: either processes share a GPU (gpus_per_trial), or trials share one "
                "copy of the model on it (trials_per_gpu, with gpus_per_trial null)"
            )
        return value

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
                "must not be a ray:// address: its driver would run and write on the cluster. Submit the study through Ray "
                f"Jobs instead: --address http://{value[6:].partition(':')[0] or 'HOST'}:8265"
            )
        raise ValueError(f"must be null, auto, host:port or http://host:8265, not {value!r}")

    @property
    def jobs(self) -> str | None:
        """The address for Ray Jobs, or None if the study does not use them."""
        return self.address if self.address and self.address.startswith(("http://", "https://")) else None


class TrackingConfig(Section):
    """Where results are kept: in SQLite, PostgreSQL or MySQL, or on an MLflow server; checkpoints in a folder or at a URI."""

    storage: str | None = Field(
        default=None, description="URL of the Optuna storage; null: SQLite in output_dir/optuna.db"
    )
    mlflow_uri: str | None = Field(
        default=None,
        description="URL of MLflow; null: MLFLOW_TRACKING_URI if set, else SQLite in output_dir/mlflow.db",
    )
    checkpoints: str | None = Field(
        default=None,
        description="Folder that all nodes share, or URI (s3://, gs://, abfs://, hdfs://), for checkpoints; each study gets a "
        "subfolder. null: output_dir/STUDY/checkpoints",
    )

    @field_validator("checkpoints")
    @classmethod
    def _a_place(cls, value: str | None) -> str | None:
        if value is not None and re.match(r"[A-Za-z0-9+]+:(?!//)", value):
            raise ValueError(f"must be a folder, or a URI such as s3://bucket/path, not {value!r}")
        if value is not None and urlsplit(value).password is not None:
            raise ValueError(
                "must be without a password, which would be in every result: set the credentials in the environment of the "
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
            raise ValueError(f"must be a URL ({names}), not {value!r}")
        return value


def _or_nothing(value: object) -> object:
    """Reads an empty section, such as `head_only:`, as one without settings."""
    return {} if value is None else value


class StudyConfig(Section):
    """A study: one search over methods for one model and one set of tasks."""

    study: Name = Field(max_length=80, description="Name of the study")
    output_dir: Path = Field(
        default=Path("outputs"),
        strict=False,
        description="Folder for results; each study gets a subfolder",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed from which all other seeds are derived")
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
        """Gives a section that has only comments its defaults."""
        if not isinstance(content, dict):
            return content
        optional = ("search", "training", "finalists", "cluster", "tracking")
        return {key: value for key, value in content.items() if value is not None or key not in optional}

    @field_validator("output_dir", mode="before")
    @classmethod
    def _a_folder(cls, value: object) -> object:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                f"must be a folder of the driver's machine, not {value!r}. Only checkpoints may go to a URI: set "
                "tracking.checkpoints"
            )
        return value

    @field_validator("tasks")
    @classmethod
    def _names_differ(cls, value: list[AnyTaskConfig]) -> list[AnyTaskConfig]:
        names = [task.name for task in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"must have different names; more than one is called {', '.join(twice)}")
        return value

    @property
    def language_model(self) -> bool:
        """Whether a task needs the model's own language-model head."""
        return any(task.language_model for task in self.tasks)

    @property
    def folder(self) -> Path:
        """The study's own folder: outputs/<study>."""
        return self.output_dir / self.study

    @property
    def storage_url(self) -> str:
        """The URL of the Optuna storage."""
        return self.tracking.storage or f"sqlite:///{(self.output_dir / 'optuna.db').as_posix()}"
