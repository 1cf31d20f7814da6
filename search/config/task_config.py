"""A study file's section `tasks`: one class of settings for each kind of task (`search/tasks/`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationInfo, field_validator

from search.config.values import HyperparameterConfig, Name, Section, Template

FILE_FORMATS = ("csv", "json", "parquet", "text", "conll", "squad")
"""Formats of own files, each named in data_files."""

DEFAULT_KIND = "sequence_classification"


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


class SequenceClassificationConfig(TaskConfig):
    """A label for a text or a pair of texts; several labels; or a number."""

    kind: Literal["sequence_classification"] = Field(
        default="sequence_classification", description="Kind of the task"
    )
    text: Template = Field(description='Column of the text, or a template: "{title} {body}"')
    text_pair: Template | None = Field(default=None, description="Column of a second text, or a template")
    label: str = Field(description="Column of the label, of a list of them, or of the number")
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] = Field(
        default="single_label_classification", description="What the label's column holds"
    )
    verbalizer: dict[str, str] | None = Field(
        default=None,
        validate_default=True,
        description="A word for each label, scored by the language model in place of a trained head: after the text in a "
        'decoder, at the mask token in a masked model: text: "{review} It was [MASK]."',
    )
    metric: Literal["accuracy", "macro_f1", "matthews_correlation", "pearson", "spearman"] = Field(
        default="accuracy", validate_default=True, description="Metric, maximized"
    )
    few_shot: int | None = Field(
        default=None, ge=1, description="Training rows per class, drawn with the study's seed"
    )

    @field_validator("metric", "verbalizer", "few_shot")
    @classmethod
    def _fits_the_problem(cls, value: Any, info: ValidationInfo) -> Any:
        problem = info.data.get("problem_type", "single_label_classification")
        single, field = problem == "single_label_classification", info.field_name
        if field == "metric":
            allowed = _METRICS[problem]
            if value not in allowed:
                raise ValueError(
                    f"must be one of {', '.join(allowed)} where problem_type is {problem}, not {value}"
                )
        elif value is not None and not single:
            raise ValueError(
                f"must be left out where problem_type is {problem}: it is for one label per text"
            )
        elif field == "verbalizer" and value is not None and info.data.get("text_pair") is not None:
            raise ValueError(
                'needs both texts in one template, and no text_pair: text: "{first} {second} ..."'
            )
        return value

    @property
    def language_model(self) -> bool:
        return self.verbalizer is not None

    @property
    def has_readout(self) -> bool:
        return self.verbalizer is None


_METRICS = {
    "single_label_classification": ("accuracy", "macro_f1", "matthews_correlation"),
    "multi_label_classification": ("accuracy", "macro_f1"),
    "regression": ("pearson", "spearman"),
}


class TokenClassificationConfig(TaskConfig):
    """A label for each word: named entities, slots, parts of speech."""

    kind: Literal["token_classification"] = Field(description="Kind of the task")
    text: str = Field(default="words", description="Column with the list of words (conll: words)")
    label: str = Field(default="tags", description="Column with the list of their tags (conll: tags)")
    metric: Literal["entity_f1", "accuracy", "macro_f1"] = Field(
        default="entity_f1", description="Metric, maximized: entity_f1 (seqeval) is of whole entities"
    )

    @field_validator("text")
    @classmethod
    def _a_column(cls, value: str) -> str:
        if "{" in value:
            raise ValueError("must be the column with the list of words, not a template")
        return value


class QuestionAnsweringConfig(TaskConfig):
    """The span of a context that answers a question, or that there is none: SQuAD's columns or file."""

    kind: Literal["question_answering"] = Field(description="Kind of the task")
    question: str = Field(default="question", description="Column of the question")
    context: str = Field(default="context", description="Column of the context")
    answers: str = Field(
        default="answers",
        description="Column of the answers: {text: [...], answer_start: [...]}, empty for none",
    )
    doc_stride: int = Field(
        default=32, ge=1, description="Tokens that neighbouring windows of a long context share"
    )
    max_answer_length: int = Field(default=30, ge=1, description="Longest answer in tokens")
    metric: Literal["f1", "exact_match"] = Field(
        default="f1", description="Metric, maximized: SQuAD's, the best over the references"
    )


class TextGenerationConfig(TaskConfig):
    """A text to be written for a text: summaries, translations, descriptions of data."""

    kind: Literal["text_generation"] = Field(description="Kind of the task")
    source: Template = Field(description='Column of the given text, or a template: "{text} TL;DR:"')
    target: str = Field(
        description="Column of the text to be written; rows of the same source are its references"
    )
    max_target_length: int = Field(
        default=64, ge=1, description="Longest target in tokens, in training and when text is generated"
    )
    metric: Literal["rouge_l", "bleu", "exact_match", "neg_perplexity"] = Field(
        default="rouge_l",
        description="Metric, maximized; neg_perplexity, minus the perplexity of the targets, needs no text generated "
        "during the search",
    )

    @property
    def language_model(self) -> bool:
        return True


KINDS: dict[str, type[TaskConfig]] = {
    "sequence_classification": SequenceClassificationConfig,
    "token_classification": TokenClassificationConfig,
    "question_answering": QuestionAnsweringConfig,
    "text_generation": TextGenerationConfig,
}
"""The settings of each kind of task."""


def kind(content: object) -> str:
    """The kind of a task's section, as content or as settings; the default where it names none."""
    if isinstance(content, dict):
        return str(content.get("kind", DEFAULT_KIND))
    return str(getattr(content, "kind", DEFAULT_KIND))


AnyTaskConfig = Annotated[
    Annotated[SequenceClassificationConfig, Tag("sequence_classification")]
    | Annotated[TokenClassificationConfig, Tag("token_classification")]
    | Annotated[QuestionAnsweringConfig, Tag("question_answering")]
    | Annotated[TextGenerationConfig, Tag("text_generation")],
    Discriminator(kind),
]
"""A task's section, of the class that its `kind` names."""

_ANY: TypeAdapter[AnyTaskConfig] = TypeAdapter(AnyTaskConfig)


def parse(content: dict[str, Any]) -> AnyTaskConfig:
    """The settings of one task, from plain values.

    Raises:
        pydantic.ValidationError: something in it cannot be.
    """
    return _ANY.validate_python(content)
