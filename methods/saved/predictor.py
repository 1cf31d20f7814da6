"""A saved method ready to predict: texts in, answers out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer

from methods import answers, parameters, registry
from methods.answers import label
from methods.answers.trained import SavedTask, TrainedModel
from methods.backbone.backbone import Backbone
from methods.method import Method
from methods.saved.folder import Saved, SavedError, read


class Predictor:
    """Answers with what was saved."""

    def __init__(self, saved: Saved, model: TrainedModel) -> None:
        self.saved = saved
        self._model = model

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
        asked = self._task(task)
        found: list[Any] = answers.get(asked.answer).predict(self._model, texts, asked)
        return found

    def logits(self, texts: Sequence[str | tuple[str, str]], task: str | None = None) -> Tensor:
        """Of a task of whole texts (or pairs), `[len(texts), C]` float32, on the CPU; `task` may be left out where there
        is only one."""
        return label.logits(self._model, texts, self._task(task))

    def columns(self, task: str | None = None) -> tuple[str, ...]:
        """Names of what is given for one answer of a task."""
        names: tuple[str, ...] = answers.get(self._task(task).answer).COLUMNS
        return names

    def _task(self, name: str | None) -> SavedTask:
        names = [each.name for each in self.saved.tasks]
        if name is None and len(names) == 1:
            return self.saved.tasks[0]
        if name not in names:
            raise ValueError(f"task must be one of {', '.join(names)}, not {name!r}")
        return self.saved.tasks[names.index(name)]


def load(folder: Path | str, *, model: str | None = None, device: str = "cpu") -> Predictor:
    """Loads what `methods.saved.folder.save` wrote.

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
    words_needed = any(answers.get(task.answer).needs_language_model(task.settings) for task in saved.tasks)
    backbone = Backbone.load(path, device=device, language_model=words_needed)
    if backbone.fingerprint() != saved.model_sha256:
        raise SavedError(f"the weights of {path} are not those that {folder} was trained on")
    module = registry.get(saved.form)
    method: Method = module.Method(module.Config(**saved.form_config), backbone, len(saved.tasks))
    readout, used = saved.form_config["readout"], method.own_backbone or backbone
    made = nn.ModuleList(
        answers.get(task.answer).head(readout, task.labels, task.settings, used) for task in saved.tasks
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
    trained = TrainedModel(
        saved.tasks, backbone, tokenizer, method.to(device), made.to(device), saved.max_length
    )
    return Predictor(saved, trained)
