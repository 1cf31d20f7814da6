"""The training step of one trial as one would write it for it alone, with `torch.optim.AdamW`.

It is what the steps of a bundle (`search/training/steps/bundle.py`) must be equal to, and it trains what no bundle can take: a copy of the
model, a model's own classification head, a method of another package.

Letters: B rows, T text tokens, H hidden width, C outputs, X places or losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.backbone.injection import Injection
from methods.heads.heads import LinearHead
from methods.method import Rows
from search.training import frozen_features
from search.training.batches import Texts
from search.training.trial import Batch, Part, Trial, learning_rate_factor


class States(NamedTuple):
    """What the backbone made of rows: their hidden states and the texts that it read."""

    hidden_BTH: Tensor
    texts: Texts


class Solo:
    """A trial in a pack.

    Args:
        trial: the trial.

    Attributes:
        trials: the trial, as the only one.
    """

    def __init__(self, trial: Trial) -> None:
        self.trials = [trial]
        self._trial = trial

    @property
    def needs_no_forward(self) -> bool:
        return self._trial.needs_no_forward

    def inject(self, batches: Sequence[Batch]) -> Injection:
        """The injection for the whole batch."""
        (batch,), trial = batches, self._trial
        device = trial.backbone.device
        query_BH = None
        if trial.queries is not None:
            asked = zip(batch.tasks, batch.numbers, strict=True)
            query_BH = torch.stack([trial.queries[task][number] for task, number in asked]).to(device)
        trial.method.train()
        made: Injection = trial.method(
            Rows(torch.tensor(batch.tasks, device=device), query_BH), trial.backbone
        )
        return made

    def losses(
        self, batches: Sequence[Batch], parts: Sequence[Part], states: States | None, injection: Injection
    ) -> Tensor:
        """What some rows of the batch add to its loss, `[1]`.

        The batch's loss is the weighted sum over tasks of the mean loss of all targets in the batch, plus the mean
        auxiliary loss of all rows.

        Args:
            batches: the whole batch.
            parts: the rows.
            states: of these rows; None if `needs_no_forward`.
            injection: the injection into these rows.
        """
        (batch,), (part,), trial = batches, parts, self._trial
        total = torch.zeros((), device=trial.backbone.device)
        for index, task in enumerate(trial.tasks):
            mine = [place for place, row in enumerate(part) if batch.tasks[row] == index]
            if mine:
                logits_XC = self._logits(index, mine, batch, part, states)
                rows = [batch.rows[part[place]] for place in mine]
                losses_X = task.loss(torch.split(logits_XC, [row.places for row in rows]), rows)
                total = total + trial.weights[index] * losses_X.sum() / batch.losses(task, index)
        if injection.auxiliary_loss_B is not None:
            total = total + injection.auxiliary_loss_B.sum() / len(batch.rows)
        return total[None]

    def _logits(self, index: int, mine: Part, batch: Batch, part: Part, states: States | None) -> Tensor:
        """The logits `[X, C]` of rows of a task, given by their places in the part."""
        head = self._trial.heads[index]
        if states is None:
            assert isinstance(head, LinearHead)
            split, backbone = self._trial.tasks[index].splits["train"], self._trial.backbone
            known = frozen_features.read_features(split, backbone, head)
            return head.answer(known.of([batch.numbers[part[place]] for place in mine]).to(backbone.device))
        hidden_BTH, texts = states
        logits_XC: Tensor = head(hidden_BTH[mine], texts.mask_BT[mine], texts.read_BT[mine])
        return logits_XC

    def norms(self) -> Tensor:
        """The gradient's norm, `[1]`."""
        gradients = [p.grad for p in self._trial.parameters if p.grad is not None]
        norm: Tensor = nn.utils.get_total_norm(gradients)
        return norm.to(self._trial.backbone.device)[None]

    def update(self, norms: Sequence[float], batches: Sequence[Batch]) -> None:
        """Clips the gradients, takes an optimizer step and clears the gradients; `norms` are finite."""
        (norm,), trial = norms, self._trial
        whole = torch.tensor(norm, dtype=torch.float64)
        nn.utils.clip_grads_with_norm_(trial.parameters, trial.settings.max_grad_norm, whole)
        factor = learning_rate_factor(trial.settings, trial.step)
        for group in trial.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        trial.optimizer.step()
        self.forget()
        trial.step += 1

    def forget(self) -> None:
        """Clears the gradients, and moments that are not complete because memory ran out while they were made."""
        self._trial.optimizer.zero_grad(set_to_none=True)
        state = self._trial.optimizer.state
        for parameter in [each for each, made in state.items() if "exp_avg_sq" not in made]:
            del state[parameter]

    def release(self) -> None:
        """Does nothing: the trial's tensors are its own."""
