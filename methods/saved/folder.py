"""A trained method as a folder: `method.json` and `method.safetensors`; no pickle, no code.

`save` writes it, `load` gives a `Predictor` that answers text with labels. It needs the frozen model's files,
and checks that they are the ones it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer

import methods
from methods import parameters
from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.heads import heads, spans, words, written
from methods.heads.generation import greedy
from methods.method import Method, Rows

FORMAT = 3


class SavedError(ValueError):
    """The folder is not what `save` wrote, or does not fit the model; the message says which."""


@dataclass(frozen=True)
class SavedTask:
    """A task's name, kind (`search/tasks/`), labels in the order of the head's outputs, and what else its kind needs."""

    name: str
    kind: str
    labels: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """What `method.json` says.

    Attributes:
        method: name of the method that was trained.
        config: its hyperparameters.
        form: name of the method that is deployed: the same, or one without what only helps training.
        form_config: its hyperparameters.
        tasks: in the order of the method's tables.
        model: hub id or folder of the frozen model.
        model_sha256: of the frozen model's weights (`Backbone.fingerprint`).
        max_length: texts are cut to this many tokens.
    """

    method: str
    config: dict[str, Any]
    form: str
    form_config: dict[str, Any]
    tasks: tuple[SavedTask, ...]
    model: str
    model_sha256: str
    max_length: int


def save(folder: Path, saved: Saved, form: Method, task_heads: nn.ModuleList) -> None:
    """Writes the folder; what was there under the same names is replaced.

    Args:
        folder: made if need be.
        saved: what to say of it.
        form: the method in the form that is deployed (`Method.deployed`).
        task_heads: of the tasks, in their order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"method.{name}": tensor for name, tensor in parameters.state(form).items()}
    tensors |= {f"heads.{name}": tensor for name, tensor in parameters.state(task_heads).items()}
    path = folder / "method.safetensors"
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    content = {"format": FORMAT, "sha256": _sha256(path), **asdict(saved)}
    (folder / "method.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Saved:
    """Reads `method.json` and checks the tensors' sha256.

    Raises:
        SavedError: a file is missing, damaged, or of another format.
    """
    try:
        content = json.loads((folder / "method.json").read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise SavedError(f"{folder} has another format than {FORMAT}; export it again")
        digest = content.pop("sha256")
        content["tasks"] = tuple(
            SavedTask(task["name"], task["kind"], tuple(task["labels"]), task["settings"])
            for task in content["tasks"]
        )
        saved = Saved(**content)
        found = _sha256(folder / "method.safetensors")
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise SavedError(f"{folder} holds no readable method: {error}") from error
    if found != digest:
        raise SavedError(f"{folder / 'method.safetensors'} is not the file that was saved; export it again")
    return saved


class Predictor:
    """A frozen model with a trained method: texts in, labels out."""

    def __init__(
        self, saved: Saved, backbone: Backbone, tokenizer: Any, method: Method, task_heads: nn.ModuleList
    ) -> None:
        self.saved = saved
        self._backbone = backbone
        self._tokenizer = tokenizer
        self._method = method.eval()
        self._heads = task_heads.eval()

    @torch.no_grad()
    def logits(self, texts: Sequence[str | tuple[str, str]], task: str | None = None) -> Tensor:
        """Of a task of whole texts (or pairs), `[len(texts), C]` float32, on the CPU; `task` may be left out where there
        is only one."""
        index = self._index(task)
        if self.saved.tasks[index].settings.get("verbalizer"):
            return torch.cat([self._word_logits(str(text), index) for text in texts])
        return torch.cat([self._logits(*self._encode(text), index, None) for text in texts])

    def predict(self, texts: Sequence[Any], task: str | None = None) -> list[Any]:
        """What the task answers to each text.

        Args:
            texts: each a text or a pair of them (a tuple); for a task of words a list of words, or a text that is split
                at blanks; for question answering (question, context).
            task: its name; may be left out where there is only one.

        Returns:
            For each text its label; a list of labels, where there may be several, and for words (empty for those
            beyond the model's length); a number; an answer, empty where there is none; or what is written after it.
        """
        saved_task = self.saved.tasks[self._index(task)]
        match saved_task.kind:
            case "token_classification":
                rows = [text.split() if isinstance(text, str) else list(text) for text in texts]
                return [self._tags(row, saved_task) for row in rows]
            case "text_generation":
                return [self._written(text, saved_task) for text in texts]
            case "question_answering":
                return [self._answer(question, context, saved_task) for question, context in texts]
        for text in texts:
            pair = isinstance(text, tuple) and len(text) == 2
            if not (isinstance(text, str) or pair):
                raise ValueError(
                    f"task {saved_task.name} labels whole texts: each must be one string, or a tuple of two, not {text!r}"
                )
        return [self._label(row_C, saved_task) for row_C in self.logits(texts, task)]

    def _label(self, logits_C: Tensor, task: SavedTask) -> Any:
        match task.settings["problem_type"]:
            case "regression":
                return task.settings["mean"] + task.settings["deviation"] * float(logits_C[0])
            case "multi_label_classification":
                return [name for name, logit in zip(task.labels, logits_C.tolist(), strict=True) if logit > 0]
        return task.labels[int(logits_C.argmax())]

    @torch.no_grad()
    def _tags(self, row: Sequence[str], task: SavedTask) -> list[str]:
        ((ids, positions),) = words.encode(self._tokenizer, [row], self.saved.max_length)
        there = [position for position in positions if position is not None]
        if not there:
            return [""] * len(positions)
        output_XC = self._logits(ids, None, self._index(task.name), there)
        tags = iter(task.labels[int(number)] for number in output_XC.argmax(1))
        return ["" if position is None else next(tags) for position in positions]

    @torch.no_grad()
    def _answer(self, question: str, context: str, task: SavedTask) -> str:
        settings, index = task.settings, self._index(task.name)
        found = spans.windows(
            self._tokenizer,
            [question.strip()],
            [context],
            max_length=self.saved.max_length,
            doc_stride=settings["doc_stride"],
        )
        logits = [self._logits(w.input_ids, w.token_type_ids, index, w.read) for w in found]
        (answer,) = spans.answers(
            found,
            logits,
            [context],
            max_answer_length=settings["max_answer_length"],
            unanswerable=settings["unanswerable"],
        )
        return answer

    def _written(self, text: str, task: SavedTask) -> str:
        backbone, index = self._method.own_backbone or self._backbone, self._index(task.name)
        most = task.settings["max_target_length"]
        ids, _ = written.source(
            self._tokenizer, text, self.saved.max_length, most, backbone.shape.architecture
        )
        ids_1T, mask_1T, injection = self._injected(ids, None, index)
        head = self._heads[index]
        assert isinstance(head, heads.Head)
        (tokens,) = greedy(
            backbone, head, ids_1T, mask_1T, injection, end=task.settings["end"], max_new_tokens=most
        )
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def _word_logits(self, text: str, index: int) -> Tensor:
        architecture = self._backbone.shape.architecture
        ids, place = written.scored(self._tokenizer, text, self.saved.max_length, architecture)
        return self._logits(ids, None, index, [place])

    def _encode(self, text: str | tuple[str, str]) -> tuple[list[int], list[int] | None]:
        """Token ids and, of a pair, token types where the tokenizer makes them."""
        texts = (text,) if isinstance(text, str) else text
        encoded = self._tokenizer(*texts, truncation=True, max_length=self.saved.max_length)
        return encoded["input_ids"], encoded.get("token_type_ids") if len(texts) > 1 else None

    def _logits(
        self, ids: Sequence[int], types: Sequence[int] | None, index: int, read: Sequence[int] | None
    ) -> Tensor:
        """`[places read, C]`, on the CPU, of one text."""
        types_1T = None if types is None else torch.tensor([list(types)], device=self._backbone.device)
        ids_1T, mask_1T, injection = self._injected(ids, types_1T, index)
        read_1T = torch.zeros_like(mask_1T)
        if read is not None:
            read_1T[0, list(read)] = True
        backbone = self._method.own_backbone or self._backbone
        hidden_1TH = backbone.forward(ids_1T, mask_1T, injection, types_1T)
        output: Tensor = self._heads[index](hidden_1TH, mask_1T, read_1T)
        return output.cpu()

    @torch.no_grad()
    def _injected(
        self, ids: Sequence[int], types_1T: Tensor | None, index: int
    ) -> tuple[Tensor, Tensor, Injection]:
        """One text, its mask, and what the method puts into it."""
        device = self._backbone.device
        ids_1T = torch.tensor([list(ids)], device=device)
        mask_1T = torch.ones_like(ids_1T, dtype=torch.bool)
        query = self._method.query
        query_1H = None if query is None else self._backbone.features(ids_1T, mask_1T, query, types_1T)
        rows = Rows(torch.full((1,), index, device=device), query_1H)
        return ids_1T, mask_1T, self._method(rows, self._method.own_backbone or self._backbone)

    def _index(self, task: str | None) -> int:
        names = [each.name for each in self.saved.tasks]
        if task is None and len(names) == 1:
            return 0
        if task not in names:
            raise ValueError(f"task must be one of {', '.join(names)}, not {task!r}")
        return names.index(task)


def load(folder: Path | str, *, model: str | None = None, device: str = "cpu") -> Predictor:
    """Loads what `save` wrote.

    Args:
        folder: with `method.json` and `method.safetensors`.
        model: where the frozen model is, if not where it was.
        device: of the model.

    Raises:
        SavedError: the folder is damaged, or the model is another one.
        BackboneError: the model cannot be loaded.
    """
    folder = Path(folder)
    saved = read(folder)
    path = model or saved.model
    words_needed = any(
        task.kind == "text_generation" or task.settings.get("verbalizer") for task in saved.tasks
    )
    backbone = Backbone.load(path, device=device, language_model=words_needed)
    if backbone.fingerprint() != saved.model_sha256:
        raise SavedError(f"the weights of {path} are not those that {folder} was trained on")
    module = methods.get(saved.form)
    method: Method = module.Method(module.Config(**saved.form_config), backbone, len(saved.tasks))
    readout, used = saved.form_config["readout"], method.own_backbone or backbone
    made = nn.ModuleList(
        heads.make(task.kind, readout, task.labels, task.settings, used) for task in saved.tasks
    )
    try:
        tensors = load_file(folder / "method.safetensors")
        for prefix, part in (("method.", method), ("heads.", made)):
            mine = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
            parameters.load_state(part, mine)
    except (SafetensorError, ValueError) as error:
        raise SavedError(
            f"{folder / 'method.safetensors'} does not fit {folder / 'method.json'}: {error}"
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(path)
    return Predictor(saved, backbone, tokenizer, method.to(device), made.to(device))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
