"""The plan of a study as `promptfront check` prints it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from search.plan.check import Plan, TaskPlan

_LABELS_SHOWN = 12


def render(plan: Plan, console: Console) -> None:
    """Prints the plan."""
    model = Table(title=f"Study {plan.study}", title_justify="left", show_header=False)
    model.add_row("model", plan.model)
    model.add_row("backbone", f"{plan.shape.parameters:,} parameters, frozen")
    for task in plan.tasks:
        rows = ", ".join(f"{count:,} {split}{_groups(task, split)}" for split, count in task.rows.items())
        more = ", ..." if len(task.labels) > _LABELS_SHOWN else ""
        names = ", ".join(task.labels[:_LABELS_SHOWN]) + more
        labels = f"; {len(task.labels)} labels: {names}" if task.labels else ""
        model.add_row(f"task {task.name}", rows + labels)
    model.add_row("heads", f"{plan.head_parameters:,} parameters")
    console.print(model)
    table = Table(title="Trials and parameters of the methods (heads not counted)", title_justify="left")
    table.add_column("method", no_wrap=True)
    for column in ("trials", "trained", "deployed", "memory", "trial"):
        # In a narrow terminal a range of counts may wrap; nothing is cut off.
        table.add_column(column, justify="right", no_wrap=column not in ("trained", "deployed"))
    for method in plan.methods:
        table.add_row(
            method.method,
            str(method.trials),
            _between(method.trained_parameters),
            _between(method.deployed_parameters),
            f"{method.memory_bytes / 2**30:.1f} GiB",
            _duration(method.seconds_per_trial),
        )
    console.print(table)
    runs = [sum(each) for each in zip(*(method.finalist_runs for method in plan.methods), strict=True)]
    console.print(f"Finalists: {runs[0]} runs or fewer{_with_extra(plan, str(runs[1]))}.", highlight=False)
    console.print(
        f"Checkpoints: {_size(plan.checkpoint_bytes)} on the disk at any time, or less.", highlight=False
    )
    at_once = "1 trial" if plan.parallel_trials == 1 else f"{plan.parallel_trials} trials"
    if plan.seconds is not None:
        low, high = map(_duration, plan.seconds)
        text = f"About {low} or less on this machine, {at_once} at a time{_with_extra(plan, high)}."
        console.print(text)
    if plan.gpu_seconds is not None:
        low, high = (f"{seconds / 3600:.1f}" for seconds in plan.gpu_seconds)
        console.print(f"About {low} GPU-hours or less{_with_extra(plan, high)}.", highlight=False)
    if plan.can_show is not None:
        console.print(plan.can_show, highlight=False)
    for warning in plan.warnings:
        console.print(f"Note: {warning}", style="yellow", highlight=False)


def _with_extra(plan: Plan, bound: str) -> str:
    """What extra seeds may add to a bound."""
    if plan.max_seeds is None:
        return ""
    return f"; with extra seeds (finalists.max_seeds: {plan.max_seeds}) {bound}"


def _groups(task: TaskPlan, split: str) -> str:
    return f" ({task.groups[split]:,} groups)" if split in task.groups else ""


def _between(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} - {high:,}"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 0.1 * 2**30 else f"{max(1, round(count / 2**20))} MiB"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
