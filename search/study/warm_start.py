"""Takes the best configurations of an earlier study, to try them first in a new one (`search.from`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from methods.space import Range, Scalar
from search.config import spaces, study_file
from search.config.spaces import Space
from search.config.study_config import StudyConfig
from search.errors import NoStudyError
from search.storage import optuna_storage
from search.storage.trials import BaseStorage, FrozenTrial, TrialState

_TOP = 3


class Found(NamedTuple):
    """Parameters to try, and the trial that they come from, as `<study>/<method>:<number>`."""

    params: dict[str, Scalar]
    origin: str


def find(config: StudyConfig, here: BaseStorage, method: str, space: Space, weights: Space) -> list[Found]:
    """Finds the best configurations of a method in an earlier study; none if it did not try the method.

    Args:
        config: the new study, with `search.from`.
        here: the new study's storage.
        method: the method.
        space, weights: the new study's space and loss weights; configurations outside of them are left out.

    Returns:
        The three best by validation score and the Pareto front, best first; at most a quarter of the budget.

    Raises:
        NoStudyError: the earlier study does not exist.
        StorageError: its storage cannot be reached.
    """
    assert config.search.from_ is not None
    there, name = _locate(config.search.from_, here)
    names = optuna_storage.study_names(there)
    if not any(known.startswith(f"{name}/") for known in names):
        raise NoStudyError(
            f"search.from: there is no study {name!r} in that storage; there are: "
            f"{', '.join(sorted({known.partition('/')[0] for known in names})) or 'none'}"
        )
    if f"{name}/{method}" not in names:
        return []
    study_id = there.get_study_id_from_name(f"{name}/{method}")
    done = [t for t in there.get_all_trials(study_id, deepcopy=False) if t.state == TrialState.COMPLETE]
    found = []
    for trial in _recommended(done):
        params = _params(method, trial, space, weights)
        if params is not None:
            found.append(Found(params, f"{name}/{method}:{trial.number}"))
    return found[: max(1, config.search.trials_per_method // 4)]


def _recommended(done: list[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Yields the best trials, and those that are better than every cheaper one."""
    best = sorted(done, key=lambda t: (-t.values[0], t.values[1], t.number))
    for rank, trial in enumerate(best):
        cheaper = min((other.values[1] for other in best[:rank]), default=float("inf"))
        if rank < _TOP or trial.values[1] < cheaper:
            yield trial


def _params(method: str, trial: FrozenTrial, space: Space, weights: Space) -> dict[str, Scalar] | None:
    """The trial's parameters in the new space; None if it lies outside. Weights that do not fit get the default."""
    config = trial.user_attrs.get("config")
    if config is None:
        return None
    params = {name: config.get(name, value) for name, value in spaces.default_params(method, space).items()}
    if not _fits(params, space.ranges):
        return None
    if spaces.resolved(method, params | spaces.default_weights(weights), space, weights)["config"] != config:
        return None
    shares = weights.ranges
    sampled = trial.params if _fits(trial.params, shares) else spaces.default_weights(weights)
    return params | {name: sampled[name] for name in shares}


def _fits(params: Mapping[str, Scalar], ranges: Mapping[str, Range]) -> bool:
    return all(name in params and range_.contains(params[name]) for name, range_ in ranges.items())


def _locate(source: str, here: BaseStorage) -> tuple[BaseStorage, str]:
    """The storage and name of a study, given by its name, its folder, or STORAGE_URL#NAME."""
    url, marked, name = source.rpartition("#")
    if marked and "://" in url:
        return optuna_storage.connect(url, create=False), name
    described = Path(source) / "config.yaml"
    if described.is_file():
        other = study_file.load(described)
        return optuna_storage.connect(other.storage_url, create=False), other.study
    return here, source
