"""What is printed: text from data, file names and other programs cannot steer the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters other than a tab and a new line, and those that turn the direction of text."""


def printable(text: str) -> str:
    """The text with U+FFFD in place of each character that would steer a terminal."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


class Terminal(Console):
    """A console that steers the terminal by its own styles only, not by what it is given to print."""

    def render(self, *given: Any, **named: Any) -> Iterable[Segment]:
        for text, style, control in super().render(*given, **named):
            yield Segment(text if control else printable(text), style, control)
