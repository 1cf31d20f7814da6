"""Checks a study before it starts, and estimates what it will cost.

`check` looks at the model, the data and every method's search space, and reports all problems at once. It returns a
`Plan` with counts and estimates. The estimates are upper bounds: they ignore early stopping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

import methods
from methods.backbone.backbone import Backbone
from methods.backbone.loading import BackboneError
from methods.backbone.shape import Shape
from methods.parameters import deployed_parameters, trained_parameters
from search import errors, tasks
from search.config import places, spaces
from search.config.spaces import Space
from search.config.study_config import StudyConfig
from search.errors import Problem, StudyFileError
from search.plan import estimates, evidence, notes, resources
from search.plan.estimates import Timer
from search.tasks import Task
from search.training import checkpoint_folder, model_files
from search.training.model_files import ModelFiles

_START_SECONDS = 30.0
"""Seconds in which Ray starts and its workers import their libraries."""
Bounds = tuple[float, float]
"""Upper bounds without and with extra seeds."""


@dataclass(frozen=True)
class TaskPlan:
    """The rows that a task uses; for test, which is not read before the end, an upper bound.

    Attributes:
        groups: the number of groups in each split that was read, if its examples are in groups.
    """

    name: str
    labels: tuple[str, ...]
    rows: dict[str, int]
    groups: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodPlan:
    """The trials of a method, with (smallest, largest) numbers of parameters over its space.

    Attributes:
        finalist_runs: the most runs of the second stage, without and with extra seeds.
        memory_bytes: a rough estimate for the largest trial.
        seconds_per_trial: an estimate for a trial in the middle of the space; None without a probe.
    """

    method: str
    trials: int
    finalist_runs: estimates.Runs
    trained_parameters: tuple[int, int]
    deployed_parameters: tuple[int, int]
    memory_bytes: int
    seconds_per_trial: float | None


@dataclass(frozen=True)
class Plan:
    """What a study will do and what it will cost.

    Attributes:
        loaded: the tasks with their train and validation splits, and test if it was asked for.
        max_seeds: the most seeds of a finalist; None if there are no extra ones.
        seconds: upper bounds for the whole study, without and with extra seeds; None without a probe.
        gpu_seconds: the same bounds of GPUs times seconds in use; None without a probe or a GPU.
        parallel_trials: how many trials run at once on this machine.
        checkpoint_bytes: the most that lies on the disk at any time.
        can_show: how often the study would find a lead, in words; None where that cannot be told.
    """

    study: str
    model: str
    shape: Shape
    head_parameters: int
    tasks: tuple[TaskPlan, ...]
    loaded: tuple[Task, ...]
    methods: tuple[MethodPlan, ...]
    parallel_trials: int
    max_seeds: int | None
    seconds: Bounds | None
    gpu_seconds: Bounds | None
    checkpoint_bytes: int
    can_show: str | None
    warnings: tuple[str, ...]


def check(config: StudyConfig, probe: bool = True, test: bool = False) -> Plan:
    """Checks the study against its model, its data and this machine.

    Args:
        config: the study.
        probe: whether to run a few steps of each method, for the time estimate.
        test: whether to read the test split too, to find mistakes in it and rows that are in train too. A search never
            reads it before its end.

    Raises:
        StudyFileError: the study cannot run; one line per problem.
        CheckpointFolderError: the URI for checkpoints cannot be written to.
    """
    found: list[Problem] = resources.problems(config) + places.mlflow_problems(config)
    model = model_files.inspect(config.model, config.language_model)
    found += model.problems
    loaded, task_plans = _tasks(config, model, found, test)
    method_spaces = {}
    for method, overrides in config.methods.items():
        problems = spaces.problems(method, overrides, config.tasks)
        if not problems:
            method_spaces[method] = spaces.space(method, overrides, config.tasks)
            if model.backbone is not None:
                problems = spaces.corner_problems(
                    method, method_spaces[method], model.backbone.shape, config.model.max_length
                )
                problems += _writing_problems(config, method, method_spaces[method], model.backbone)
        found += problems
    if found:
        raise errors.study_file_error(found, f"study {config.study}")
    checkpoint_folder.try_out(config)
    backbone = model.backbone
    assert backbone is not None, "a model that cannot be read has a problem"
    assert model.tokenizer is not None, "a model without a tokenizer has a problem"
    try:
        timer = Timer(config, model.path, loaded) if probe else None
    except BackboneError as error:
        raise StudyFileError(f"model.name_or_path: {error}") from error
    plans = tuple(
        _method_plan(config, method, space, backbone, loaded, timer)
        for method, space in method_spaces.items()
    )
    parallel = max(1, resources.at_once(config, resources.of_this_machine()))
    # What trials gain by sharing a GPU is not known beforehand.
    slots = math.ceil(parallel / config.cluster.trials_per_gpu)
    seconds = _seconds(plans, slots)
    heads = _head_parameters(loaded, backbone)
    checkpoints = estimates.checkpoint_bytes(
        ((plan.trained_parameters[1], plan.finalist_runs[1]) for plan in plans), heads, parallel
    )
    settings = config.finalists
    return Plan(
        study=config.study,
        model=model.path,
        shape=backbone.shape,
        head_parameters=heads,
        tasks=task_plans,
        loaded=tuple(loaded),
        methods=plans,
        parallel_trials=parallel,
        max_seeds=settings.most_seeds if settings.most_seeds > settings.num_seeds else None,
        seconds=seconds,
        gpu_seconds=_gpu_seconds(config, seconds, slots),
        checkpoint_bytes=checkpoints,
        can_show=evidence.can_show(config, task_plans),
        warnings=(
            *(f"task {task.name}: {warning}" for task in loaded for warning in task.warnings),
            *notes.of_tasks(task_plans),
            *notes.of_room(config, max(plan.memory_bytes for plan in plans), parallel, checkpoints),
            *notes.of_settings(config),
        ),
    )


def _tasks(
    config: StudyConfig, model: ModelFiles, found: list[Problem], test: bool
) -> tuple[list[Task], tuple[TaskPlan, ...]]:
    """Loads the tasks. Of test it reads only the number of rows and the columns' names, unless `test` is true."""
    loaded, plans = [], []
    for index, section in enumerate(config.tasks):
        rows = {}
        try:
            if model.tokenizer is None:  # without it, check at least the splits and their columns
                tasks.count(section, "train")
                tasks.count(section, "validation")
            else:
                architecture = model.backbone.shape.architecture if model.backbone else "decoder"
                task = tasks.load(
                    section,
                    model.tokenizer,
                    config.model.max_length,
                    config.seed,
                    ("train", "validation", *(["test"] if test and section.data.test_split else [])),
                    architecture,
                )
                found += _vocabulary_problems(task, model)
                loaded.append(task)
                rows = {split: len(task.splits[split]) for split in task.splits}
        except StudyFileError as error:
            found.append(errors.problem(error, f"tasks.{index}."))
        try:
            if section.data.test_split is not None and "test" not in rows:
                count = tasks.count(section, "test")
                rows["test"] = min(count, section.max_test_samples or count)
        except StudyFileError as error:
            found.append(errors.problem(error, f"tasks.{index}."))
        if loaded and "train" in rows:
            plans.append(TaskPlan(section.name, loaded[-1].labels, rows, _groups(loaded[-1])))
    return loaded, tuple(plans)


def _groups(task: Task) -> dict[str, int]:
    return {name: len(set(split.groups)) for name, split in task.splits.items() if split.groups is not None}


def _writing_problems(config: StudyConfig, method: str, space: Space, backbone: Backbone) -> list[Problem]:
    """Finds placements that do not work if a decoder writes: its text must follow the given one directly."""
    if not config.language_model or backbone.shape.architecture != "decoder":
        return []
    found = {
        getattr(spaces.make_config(method, params, space), "placement", "before")
        for params in spaces.corners(space.ranges)
    } - {"before"}
    if not found:
        return []
    text = f"must be before if a decoder writes text, not {', '.join(sorted(found))}"
    return [Problem(f"methods.{method}.placement", text)]


def _vocabulary_problems(task: Task, model: ModelFiles) -> list[Problem]:
    """Finds tokens for which the model has no embedding."""
    highest = max(max(row.input_ids) for split in task.splits.values() for row in split.rows)
    if model.backbone is None or highest < model.backbone.shape.vocab_size:
        return []
    count = model.backbone.shape.vocab_size
    text = f"does not fit its tokenizer: token {highest} is beyond the model's {count} embeddings"
    return [Problem("model.name_or_path", text)]


def _method_plan(
    config: StudyConfig,
    method: str,
    space: Space,
    backbone: Backbone,
    loaded: Sequence[Task],
    timer: Timer | None,
) -> MethodPlan:
    ranges = {name: range_ for name, range_ in space.ranges.items() if not name.endswith("learning_rate")}
    configs = [spaces.make_config(method, params, space) for params in spaces.corners(ranges)]
    trained, deployed = [], []
    module = methods.get(method).Method
    for method_config in configs:
        with torch.device("meta"):
            built = module(method_config, backbone, len(config.tasks))
            trained.append(trained_parameters(built))
            deployed.append(deployed_parameters(built, backbone))
    virtual = max(getattr(method_config, "row_tokens", 0) for method_config in configs)
    trials = estimates.trials(config, method, space)
    return MethodPlan(
        method=method,
        trials=trials,
        finalist_runs=estimates.finalist_runs(config.finalists, trials),
        trained_parameters=(min(trained), max(trained)),
        deployed_parameters=(min(deployed), max(deployed)),
        memory_bytes=estimates.memory_bytes(
            config, backbone.shape, max(trained), virtual, module.private_backbone, loaded
        ),
        seconds_per_trial=timer.seconds_per_trial(method, space) if timer else None,
    )


def _gpu_seconds(config: StudyConfig, seconds: Bounds | None, parallel: int) -> Bounds | None:
    """Upper bounds of GPUs times seconds; None if trials use no GPU or if the seconds are not known."""
    gpus = resources.per_trial(config.cluster, resources.of_this_machine()["GPU"]).get("gpu")
    if seconds is None or not gpus:
        return None
    low, high = ((each - _START_SECONDS) * parallel * gpus for each in seconds)
    return low, high


def _seconds(plans: Sequence[MethodPlan], parallel: int) -> Bounds | None:
    """Seconds if every trial and every finalist is trained to its end, `parallel` at a time."""
    totals = [0.0, 0.0]
    for plan in plans:
        if plan.seconds_per_trial is None:
            return None
        for place, runs in enumerate(plan.finalist_runs):
            totals[place] += (plan.trials + runs) * plan.seconds_per_trial
    low, high = (_START_SECONDS + total / parallel for total in totals)
    return low, high


def _head_parameters(loaded: Sequence[Task], backbone: Backbone) -> int:
    with torch.device("meta"):
        return sum(trained_parameters(task.head(backbone, "mean")) for task in loaded)
