"""What `promptfront methods` shows."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

import methods
from methods.space import Allowed, Choice, Text


def render(console: Console) -> None:
    """Prints each method with its hyperparameters: default, searched range, meaning."""
    for name in methods.names():
        described = methods.describe(name)
        baseline = "  (baseline)" if described.baseline else ""
        console.print(f"\n[bold]{name}[/]{baseline}  {described.summary}", highlight=False)
        table = Table(box=None, padding=(0, 2), show_edge=False)
        for column in ("hyperparameter", "default", "searched by default", "meaning"):
            table.add_column(column)
        for field_name, field in described.config.fields().items():
            searched = field.metadata["searched"]
            table.add_row(
                field_name,
                str(field.default),
                describe(searched) if searched else f"no ({describe(field.metadata['allowed'])})",
                field.metadata["help"],
            )
        console.print(table)


def describe(allowed: Allowed) -> str:
    """Puts a range into words: "0.001 to 0.3, log"."""
    if isinstance(allowed, Choice):
        return " | ".join(map(str, allowed.choices))
    if isinstance(allowed, Text):
        return "any text"
    return f"{allowed.low:g} to {allowed.high:g}" + (", log" if allowed.log else "")
