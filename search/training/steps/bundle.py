"""The training step of trials of one structure together: its operations do not grow with the trials.

Parameters, gradients and AdamW's moments of all trials are slices of four matrices (`search/training/steps/slices.py`), a row for each
trial. The trials keep their modules and optimizers, whose tensors become views of their rows; so evaluation and checkpoints see
nothing of the bundle. Equal to `search/training/steps/solo.py` up to float error.

Letters: K trials, N columns, B rows, H hidden width, C outputs, X places or losses.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from methods.backbone.injection import Injection
from methods.bundles.bundle import Bundle as Methods
from methods.bundles.bundle import Segments
from methods.heads.heads import Head, LinearHead
from methods.method import Rows
from search.training import frozen_features
from search.training.steps import adamw
from search.training.steps.slices import Slices
from search.training.steps.solo import States
from search.training.trial import Batch, Part, Trial, learning_rate_factor


def structure(trial: Trial) -> tuple[object, ...] | None:
    """What is equal in trials that can form a bundle; None if the trial cannot be in one."""
    method = trial.method.structure
    heads = [type(head) for head in trial.heads]
    plain = all(isinstance(head, LinearHead) or not list(head.parameters()) for head in trial.heads)
    shape = trial.backbone.shape
    two_parts = shape.architecture == "encoder-decoder" and trial.backbone.language_model
    # A batch may leave the decoder out, and with it its prefixes, which then must not move.
    one_way = not two_parts or all(task.splits["train"].rows[0].written is not None for task in trial.tasks)
    moved = {id(p) for group, _ in trial.method.parameter_groups() for p in group}
    alike = {p.dtype for p in (*trial.method.parameters(), *trial.heads.parameters())}
    trained = moved == set(map(id, trial.method.parameters())) and len(alike) == 1
    if method is None or trial.alone or not (plain and one_way and trained):
        return None
    return method, *heads, *map(id, trial.tasks), trial.needs_no_forward


class Bundle:
    """Trials of one structure in a pack.

    Args:
        trials: the trials, two or more.

    Attributes:
        trials: the trials.
        needs_no_forward: whether the heads read what was computed once.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = list(trials)
        first = self.trials[0]
        self.needs_no_forward = first.needs_no_forward
        self._tasks, self._backbone, self._heads = first.tasks, first.backbone, first.heads
        named = [dict(_parameters(trial)) for trial in self.trials]
        buffers = [dict(trial.method.named_buffers()) for trial in self.trials]
        self._slices, self._buffer_slices = Slices(named), Slices(buffers)
        self._groups = [self._slices.columns(names) for names in _groups(first)]
        like = next(iter(named[0].values()))
        size = (len(self.trials), self._slices.width)
        self._matrix = nn.Parameter(like.new_zeros(size))
        self._moments = adamw.Moments(
            like.new_zeros(size), like.new_zeros(size), torch.zeros(len(self.trials), len(self._groups))
        )
        self._buffers = like.new_zeros(len(self.trials), self._buffer_slices.width)
        self._take(named, buffers)
        self._padding = self._slices.padding(self._matrix.device)
        self._views: dict[str, Tensor] = {}

    @torch.no_grad()
    def _take(self, named: Sequence[dict[str, nn.Parameter]], buffers: Sequence[dict[str, Tensor]]) -> None:
        """Copies the trials' tensors into the matrices and makes views of them."""
        matrices = (self._matrix, self._moments.first_KN, self._moments.second_KN)
        views = zip(*(self._slices.own(matrix.data) for matrix in matrices), strict=True)
        for number, (trial, mine, own) in enumerate(zip(self.trials, named, views, strict=True)):
            for group, names in enumerate(_groups(trial)):
                for name in names:
                    parameter, (weight, first, second) = mine[name], (each[name] for each in own)
                    weight.copy_(parameter)
                    step = self._moments.steps_KG[number, group]
                    if state := trial.optimizer.state.get(parameter):
                        first.copy_(state["exp_avg"])
                        second.copy_(state["exp_avg_sq"])
                        step.copy_(state["step"])
                    parameter.data = weight
                    trial.optimizer.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}
        for theirs, own_buffers in zip(buffers, self._buffer_slices.own(self._buffers), strict=True):
            for name, buffer in theirs.items():
                buffer.data = own_buffers[name].copy_(buffer)

    def release(self) -> None:
        """Gives the trials tensors of their own again."""
        for trial in self.trials:
            for parameter in trial.parameters:
                parameter.data = parameter.data.clone()
                state = trial.optimizer.state[parameter]
                trial.optimizer.state[parameter] = {name: tensor.clone() for name, tensor in state.items()}
            for buffer in trial.method.buffers():
                buffer.data = buffer.data.clone()

    def inject(self, batches: Sequence[Batch]) -> Injection:
        """The injection for the whole batches."""
        device, count = self._backbone.device, len(self._tasks)
        for trial in self.trials:
            trial.method.train()
        self._views = self._slices.all(self._matrix)
        mine = {
            name.removeprefix("method."): view
            for name, view in self._views.items()
            if name.startswith("method.")
        }
        methods = Methods(
            [trial.method for trial in self.trials], mine | self._buffer_slices.all(self._buffers)
        )
        tasks = [number * count + task for number, batch in enumerate(batches) for task in batch.tasks]
        rows = Rows(
            torch.tensor(tasks, device=device),
            self._queries(batches),
            Segments([len(batch.rows) for batch in batches], device),
        )
        return type(self.trials[0].method).inject(methods, rows, self._backbone)

    def _queries(self, batches: Sequence[Batch]) -> Tensor | None:
        """The query of each row, `[B, H]`."""
        known = self.trials[0].queries
        if known is None:
            return None
        tasks = list(itertools.chain.from_iterable(batch.tasks for batch in batches))
        numbers = list(itertools.chain.from_iterable(batch.numbers for batch in batches))
        if len(known) == 1:
            return known[0][numbers].to(self._backbone.device)
        query_BH = known[0].new_empty(len(tasks), known[0].shape[1])
        for index, features_RH in enumerate(known):
            places = [place for place, task in enumerate(tasks) if task == index]
            query_BH[places] = features_RH[[numbers[place] for place in places]]
        return query_BH.to(self._backbone.device)

    def losses(
        self, batches: Sequence[Batch], parts: Sequence[Part], states: States | None, injection: Injection
    ) -> Tensor:
        """What some rows of the batches add to the trials' losses, `[K]`; the arguments are those of `Solo.losses`."""
        values, shares, owners = [], list[float](), list[int]()
        for index, task in enumerate(self._tasks):
            mine = {
                number: [place for place, row in enumerate(part) if batch.tasks[row] == index]
                for number, (batch, part) in enumerate(zip(batches, parts, strict=True))
            }
            order = [number for alike in self._by_reads(index) for number in alike if mine[number]]
            if not order:
                continue
            rows = {n: [batches[n].rows[parts[n][place]] for place in mine[n]] for n in order}
            read_XH = self._read(index, mine, batches, parts, states)
            logits_XC = self._answers(index, {n: sum(row.places for row in rows[n]) for n in order}, read_XH)
            together = [row for number in order for row in rows[number]]
            values.append(task.loss(torch.split(logits_XC, [row.places for row in together]), together))
            for number in order:
                count = sum(map(task.losses_of, rows[number]))
                weight = self.trials[number].weights[index]
                shares += [weight / batches[number].losses(task, index)] * count
                owners += [number] * count
        if injection.auxiliary_loss_B is not None:
            values.append(injection.auxiliary_loss_B)
            for number, (batch, part) in enumerate(zip(batches, parts, strict=True)):
                shares += [1 / len(batch.rows)] * len(part)
                owners += [number] * len(part)
        total_K = self._matrix.new_zeros(len(self.trials))
        if not values:
            return total_K
        losses_X = torch.cat(values)
        weighed_X = losses_X * losses_X.new_tensor(shares)
        return total_K.index_add(0, torch.tensor(owners, device=total_K.device), weighed_X.to(total_K.dtype))

    def _by_reads(self, index: int) -> list[list[int]]:
        """The trials' numbers, those together whose heads of a task read the same."""
        reads: dict[str, list[int]] = {}
        for number, trial in enumerate(self.trials):
            head = trial.heads[index]
            reads.setdefault(head.reads if isinstance(head, LinearHead) else "", []).append(number)
        return list(reads.values())

    def _read(
        self,
        index: int,
        mine: Mapping[int, Part],
        batches: Sequence[Batch],
        parts: Sequence[Part],
        states: States | None,
    ) -> Tensor:
        """What the heads of a task read, `[X, H]`, trial after trial as in `_by_reads`; other than linear heads make logits.

        Args:
            index: the task's index.
            mine: the places of the task's rows in each trial's part.
            batches, parts, states: as for `losses`.
        """
        starts = list(itertools.accumulate(map(len, parts), initial=0))
        found = []
        for alike in self._by_reads(index):
            rows = [(number, place) for number in alike for place in mine[number]]
            head = self.trials[alike[0]].heads[index]
            assert isinstance(head, Head)
            if rows and states is None:
                assert isinstance(head, LinearHead)
                known = frozen_features.read_features(
                    self._tasks[index].splits["train"], self._backbone, head
                )
                taken = [batches[number].numbers[parts[number][place]] for number, place in rows]
                found.append(known.of(taken).to(self._backbone.device))
            elif rows and states is not None:
                hidden_BTH, mask_BT, read_BT = states.hidden_BTH, states.texts.mask_BT, states.texts.read_BT
                taken = [starts[number] + place for number, place in rows]
                if taken != list(range(len(hidden_BTH))):
                    hidden_BTH, mask_BT, read_BT = hidden_BTH[taken], mask_BT[taken], read_BT[taken]
                reading = head.read if isinstance(head, LinearHead) else head
                found.append(reading(hidden_BTH, mask_BT, read_BT))
        return torch.cat(found) if len(found) > 1 else found[0]

    def _answers(self, index: int, counts: Mapping[int, int], read_XH: Tensor) -> Tensor:
        """The logits `[X, C]` of what trials read, given how many places of each trial; other than linear heads made them."""
        if not isinstance(self._heads[index], LinearHead):
            return read_XH
        segments = Segments(list(counts.values()), read_XH.device)
        weight_KCH, bias_KC = (self._views[f"heads.{index}.linear.{name}"] for name in ("weight", "bias"))
        if list(counts) != list(range(len(self.trials))):
            chosen = torch.tensor(list(counts), device=read_XH.device)
            weight_KCH, bias_KC = weight_KCH[chosen], bias_KC[chosen]
        logits_KMC = torch.baddbmm(bias_KC[:, None], segments.apart(read_XH), weight_KCH.mT)
        logits_XC: Tensor = segments.joined(logits_KMC)
        return logits_XC

    def norms(self) -> Tensor:
        """The gradients' norms, `[K]`."""
        if self._matrix.grad is None:
            return self._matrix.new_zeros(len(self.trials))
        if self._padding is not None:
            self._matrix.grad.masked_fill_(self._padding, 0.0)
        norm_K: Tensor = self._matrix.grad.norm(dim=1)
        return norm_K

    def update(self, norms: Sequence[float], batches: Sequence[Batch]) -> None:
        """Clips the gradients, takes an optimizer step of every trial and clears the gradients.

        A trial with a norm that is not finite is spoilt by it; it ends with this step.
        """
        gradient_KN = self._matrix.grad
        assert gradient_KN is not None, "some row has given a loss"
        adamw.clip(
            gradient_KN,
            gradient_KN.new_tensor(norms),
            [trial.settings.max_grad_norm for trial in self.trials],
        )
        own = len(self._groups) - sum(1 for head in self._heads if list(head.parameters()))
        rates, moving = [], []
        for trial, batch in zip(self.trials, batches, strict=True):
            factor = learning_rate_factor(trial.settings, trial.step)
            peaks = [group["peak"] * factor for group in trial.optimizer.param_groups]
            there = [task in batch.tasks for task, head in enumerate(self._heads) if list(head.parameters())]
            rates.append([*peaks[:own], *[peaks[-1]] * len(there)])
            moving.append([True] * own + there)
        decay = [trial.settings.weight_decay for trial in self.trials]
        adamw.step(self._matrix, gradient_KN, self._moments, self._groups, rates, decay, moving)
        self.forget()
        for trial in self.trials:
            trial.step += 1

    def forget(self) -> None:
        """Clears the gradients."""
        self._matrix.grad, self._views = None, {}


def _parameters(trial: Trial) -> Iterator[tuple[str, nn.Parameter]]:
    """The trained parameters by name, group after group."""
    named = {
        **{f"method.{name}": p for name, p in trial.method.named_parameters()},
        **{f"heads.{name}": p for name, p in trial.heads.named_parameters()},
    }
    for names in _groups(trial):
        yield from ((name, named[name]) for name in names)


def _groups(trial: Trial) -> list[list[str]]:
    """The names of parameters that move together: the method's groups, then each head."""
    names = {id(p): f"method.{name}" for name, p in trial.method.named_parameters()}
    groups = [[names[id(p)] for p in group] for group, _ in trial.method.parameter_groups()]
    groups += [
        [f"heads.{index}.{name}" for name, _ in head.named_parameters()]
        for index, head in enumerate(trial.heads)
    ]
    return [group for group in groups if group]
