"""Shows the progress of a launch: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import Any

from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from search.storage.trials import FrozenTrial, TrialState
from search.study import finalists
from search.study.records import Key, Stage
from search.study.study import Study, best

_INTERVAL = 1.0  # seconds between two updates
_BAR = 60  # columns


class Progress(tune.Callback):
    """Shows a study's progress; use it as a context manager around Tune's run."""

    def __init__(self, study: Study, console: Console) -> None:
        self._study = study
        self._console = console
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._started = self._looked = time.monotonic()
        self._told = {key for key, trial in study.trials() if trial.state.is_finished()}
        self._ended_before = len(self._told)

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._look()
        if self._live is not None:
            self._live.stop()
            self._console.print(self.table())

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (tune.Callback, ())  # Tune pickles its callbacks for a restore, which we do not use

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self._looked >= _INTERVAL:
            self._look()

    def table(self) -> Table:
        """A row per method: trials done, running, stopped early, failed; finalists; best validation score so far."""
        table = Table(title=f"{self._study.config.study}: {self._left()}", title_justify="left")
        table.add_column("method")
        for name in ("done", "running", "stopped", "failed", "finalists", "best"):
            table.add_column(name, justify="right")
        for method in self._study.config.methods:
            searched, retrained = self._counted(method, "search"), self._counted(method, "finalists")
            states = Counter(trial.state for trial in searched)
            score = best(self._study, method)
            table.add_row(
                method,
                f"{states[TrialState.COMPLETE]}/{self._study.planned(method)}",
                *(str(states[state]) for state in (TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL)),
                f"{sum(t.state.is_finished() for t in retrained)}/{len(retrained)}" if retrained else "",
                "" if score is None else f"{score:.3f}",
            )
        early = {method: self._study.ended_early(method) for method in self._study.config.methods}
        table.caption = "\n".join(
            f"{method} gets no more trials: {why['reason']}" for method, why in early.items() if why
        )
        table.caption_justify = "left"
        return table

    def _look(self) -> None:
        self._looked = time.monotonic()
        if self._live is not None:
            ended, planned = self._counts()
            bar = ProgressBar(total=planned, completed=ended, width=_BAR)
            self._live.update(Group(self.table(), bar), refresh=True)
        else:
            for key, trial in self._study.trials():
                if trial.state.is_finished() and key not in self._told:
                    self._told.add(key)
                    self._console.print(
                        f"{_line(key, trial)}  ({self._left()})",
                        highlight=False,
                        markup=False,
                        soft_wrap=True,
                    )

    def _counted(self, method: str, stage: Stage) -> list[FrozenTrial]:
        """The trials of a method without those that have a second try."""
        return [
            trial
            for trial in self._study.of(method, stage)
            if not self._study.replaced(Key(method, stage, trial.number))
        ]

    def _counts(self) -> tuple[int, int]:
        """How many trials and finalists have ended, and how many there will be about."""
        planned = ended = 0
        for method in self._study.config.methods:
            search, retrained = self._counted(method, "search"), self._counted(method, "finalists")
            planned += self._study.planned(method) + finalists.expected(self._study, method)
            ended += sum(t.state.is_finished() for t in (*search, *retrained))
        return ended, planned

    def _left(self) -> str:
        """The number of ended trials, and the time left as estimated from the pace of this launch."""
        ended, planned = self._counts()
        done_now = ended - self._ended_before
        if ended >= planned:
            return f"{ended} trials ended"
        if done_now < 2:
            return f"{ended} of about {planned} trials ended"
        minutes = (time.monotonic() - self._started) / done_now * (planned - ended) / 60
        return f"{ended} of about {planned} trials ended, about {max(1, round(minutes))} min left"


def _line(key: Key, trial: FrozenTrial) -> str:
    match trial.state:
        case TrialState.COMPLETE:
            return f"{key}  validation {trial.values[0]:.3f}"
        case TrialState.PRUNED:
            return f"{key}  stopped early"
        case _:
            error = trial.user_attrs.get("error", "unknown error").strip().splitlines()[0]
            return f"{key}  failed: {error}"
