"""A frozen model with a trained method, which runs one text at a time for the forms of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from methods.backbone.backbone import Backbone
from methods.backbone.injection import Injection
from methods.backbone.shape import Architecture
from methods.heads.heads import Head
from methods.method import Method, Rows


@dataclass(frozen=True)
class SavedTask:
    """What a saved method knows about a task.

    Attributes:
        name: the task's name in the study file.
        answer: the form of its answers (see `methods/answers/`).
        labels: the labels' names in the order of the head's outputs.
        settings: further settings that the form needs.
    """

    name: str
    answer: str
    labels: tuple[str, ...]
    settings: dict[str, Any]


class TrainedModel:
    """A frozen model, a method, and a head for each task.

    Args:
        tasks: the tasks in the order of the method's tables.
        backbone: the frozen model.
        tokenizer: the model's tokenizer.
        method: the method in its deployed form.
        heads: the heads in the order of the tasks.
        max_length: texts are cut to this many tokens.
    """

    def __init__(
        self,
        tasks: Sequence[SavedTask],
        backbone: Backbone,
        tokenizer: Any,
        method: Method,
        heads: nn.ModuleList,
        max_length: int,
    ) -> None:
        self.tasks = tuple(tasks)
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._frozen = backbone
        self._method = method.eval()
        self._heads = heads.eval()

    @property
    def backbone(self) -> Backbone:
        """The model that runs: the frozen one, or the method's own copy."""
        return self._method.own_backbone or self._frozen

    @property
    def architecture(self) -> Architecture:
        return self._frozen.shape.architecture

    def head(self, task: SavedTask) -> Head:
        head = self._heads[self.tasks.index(task)]
        assert isinstance(head, Head)
        return head

    def run(
        self, ids: Sequence[int], types: Sequence[int] | None, task: SavedTask, read: Sequence[int] | None
    ) -> Tensor:
        """The head's output for one text, `[places read, C]`, on the CPU.

        Args:
            ids: the text's token ids with special tokens.
            types: the token types of a pair; None for a single text.
            task: the task whose head is used.
            read: the positions that the head reads; None for the text as a whole.
        """
        types_1T = None if types is None else torch.tensor([list(types)], device=self._frozen.device)
        ids_1T, mask_1T, injection = self.inject(ids, types_1T, task)
        read_1T = torch.zeros_like(mask_1T)
        if read is not None:
            read_1T[0, list(read)] = True
        hidden_1TH = self.backbone.forward(ids_1T, mask_1T, injection, types_1T)
        output: Tensor = self.head(task)(hidden_1TH, mask_1T, read_1T)
        return output.cpu()

    @torch.no_grad()
    def inject(
        self, ids: Sequence[int], types_1T: Tensor | None, task: SavedTask
    ) -> tuple[Tensor, Tensor, Injection]:
        """Turns a text into tensors: its ids, its mask and the method's injection."""
        device = self._frozen.device
        ids_1T = torch.tensor([list(ids)], device=device)
        mask_1T = torch.ones_like(ids_1T, dtype=torch.bool)
        query = self._method.query
        query_1H = None if query is None else self._frozen.features(ids_1T, mask_1T, query, types_1T)
        rows = Rows(torch.full((1,), self.tasks.index(task), device=device), query_1H)
        return ids_1T, mask_1T, self._method(rows, self.backbone)
