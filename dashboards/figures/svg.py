"""The SVG elements that the charts are made of. No library, no script.

Text is drawn in currentColor and methods in the CSS variables --m0, --m1, ..., so a chart follows the page
into dark mode. Everything that comes from data is escaped here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

COLOURS = 10
"""Colours repeat after ten methods and shapes after eight, so 40 methods differ."""

LARGEST = 1e300
"""Larger values are drawn at the edge: sums of them would be infinite."""

_TITLE = re.compile("<title>[^<]*</title>")
_SHAPES = (
    "circle",
    "M-1-1H1V1H-1Z",
    "M0-1.3L1.25 1H-1.25Z",
    "M0-1.4L1.4 0L0 1.4L-1.4 0Z",
    "M0 1.3L1.25-1H-1.25Z",
    "M-.45-1.3H.45V-.45H1.3V.45H.45V1.3H-.45V.45H-1.3V-.45H-.45Z",
    "M0-1.3L1.2-.4L.75 1.1H-.75L-1.2-.4Z",
    "M0-1.5L.4-.4L1.5 0L.4.4L0 1.5L-.4.4L-1.5 0L-.4-.4Z",
)


def attributes(**values: object) -> Markup:
    """Each as ` name="value"`; a trailing underscore is dropped, others become hyphens."""
    parts = [
        f' {name.rstrip("_").replace("_", "-")}="{escape(number(value))}"' for name, value in values.items()
    ]
    return Markup("".join(parts))


def number(value: object) -> object:
    """A float with two decimals, which is enough for a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def element(name: str, *children: object, **values: object) -> Markup:
    """One element; children that are no Markup are escaped."""
    inner = Markup("").join(children)  # type: ignore[arg-type]
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), attributes(**values), inner)


def text(x: float, y: float, words: object, anchor: str = "middle", **values: object) -> Markup:
    """Words at (x, y) pixels."""
    return element("text", str(words), x=float(x), y=float(y), text_anchor=anchor, **values)


def line(x1: float, y1: float, x2: float, y2: float, class_: str = "rule") -> Markup:
    """A straight line, in pixels."""
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str, title: str = "") -> Markup:
    """A line through points, in pixels."""
    path = " ".join(f"{number(float(x))},{number(float(y))}" for x, y in points)
    return element("polyline", *([element("title", title)] if title else []), points=path, class_=class_)


def marker(x: float, y: float, index: int, size: float, class_: str, title: str = "") -> Markup:
    """A method's mark, with its own colour and shape."""
    inside = [element("title", title)] if title else []
    names = f"{method_class(index)} {class_}"
    shape = _SHAPES[index % len(_SHAPES)]
    if shape == "circle":
        return element("circle", *inside, cx=float(x), cy=float(y), r=float(size), class_=names)
    place = f"translate({number(float(x))} {number(float(y))}) scale({number(float(size))})"
    return element("path", *inside, d=shape, transform=place, class_=names)


def method_class(index: int) -> str:
    """The CSS class that gives a method its colour."""
    return f"m{index % COLOURS}"


def chart(width: int, height: int, label: str, *children: Markup) -> Markup:
    """A chart that scales with the page. Screen readers read `label`."""
    box = f"0 0 {width} {height}"
    return element("svg", *children, viewBox=box, width=width, height=height, role="img", aria_label=label)


def legend_mark(index: int) -> Markup:
    """The mark of the method at `index`, to stand before its name."""
    mark = marker(8, 8, index, 4.5, "point")
    return element("svg", mark, viewBox="0 0 16 16", width=16, height=16, class_="mark", aria_hidden="true")


@dataclass(frozen=True)
class Frame:
    """A chart's size and the edges of its plot, in pixels."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


SCREEN = Frame(860, 430, 56, 840, 34, 376)
PHONE = Frame(380, 330, 50, 372, 34, 276)


def both(draw: Callable[[Frame], Markup]) -> Markup:
    """A chart for screens and one for phones. The page shows one of them; a phone has no pointer that would show titles."""
    small = Markup(_TITLE.sub("", draw(PHONE)))
    return element("div", draw(SCREEN), class_="for-screen") + element("div", small, class_="for-phone")


@dataclass(frozen=True)
class Scale:
    """Maps data in [low, high] to pixels in [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, pad: float = 0.06) -> Scale:
        """A scale that holds all values with some air."""
        values = [min(max(value, -LARGEST), LARGEST) for value in values]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        air = (high - low) * pad or max(abs(high) * 0.05, 0.05)
        return cls(low - air, high + air, start, end)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the range."""
        raw = (self.high - self.low) / count
        unit = 10 ** math.floor(math.log10(raw))
        step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
        first = math.ceil(self.low / step)
        return [index * step for index in range(first, math.floor(self.high / step) + 1)]


def tick_label(value: float) -> str:
    """A short number: 0.85, 12,000."""
    if abs(value) >= 1e7:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 6):g}"


def left_axis(scale: Scale, left: float, right: float, name: str) -> Markup:
    """Horizontal grid lines with their values, and the axis name above them."""
    parts = [text(left - 8, min(scale.start, scale.end) - 10, name, anchor="start", class_="axis")]
    for value in scale.ticks():
        parts += [line(left, scale(value), right, scale(value), "grid")]
        parts += [text(left - 8, scale(value) + 4, tick_label(value), anchor="end", class_="tick")]
    return Markup("").join(parts)


def bottom_axis(scale: Scale, bottom: float, name: str, whole: bool = True) -> Markup:
    """Values under the plot; `whole` drops fractions."""
    values = [value for value in scale.ticks() if not whole or value == int(value)]
    parts = [line(scale.start, bottom, scale.end, bottom)]
    parts.append(tick_labels([(scale(value), tick_label(value)) for value in values], bottom))
    parts.append(text(scale.end, bottom + 36, name, anchor="end", class_="axis"))
    return Markup("").join(parts)


def tick_labels(labels: Sequence[tuple[float, str]], bottom: float) -> Markup:
    """Labels under the plot. One that would overlap the last is left out."""
    parts, free = [], -math.inf
    for place, words in labels:
        half = text_width(words) / 2
        if place - half >= free:
            parts.append(text(place, bottom + 17, words, class_="tick"))
            free = place + half + 8
    return Markup("").join(parts)


def text_width(words: str) -> float:
    """About how many pixels a text takes, at most."""
    return 7.2 * len(words)
