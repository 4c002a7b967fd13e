"""Line charts as inline SVG: axes with round ticks, a legend, and the value of a point where the mouse rests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vtk_cli.report.markup import Html, join, tag

WIDTH, HEIGHT = 340, 205
"""Pixels of the view box; the picture itself grows and shrinks with its column."""
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 8, 32
MOST_POINTS = 160
"""More points of one line are averaged in runs, so that a long training stays a small file."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a chart."""

    name: str
    points: Sequence[Point]
    """In the order of x; points whose y is no finite number are left out."""
    colour: int = 1
    """Place in the page's palette (CSS classes c1, c2 ...)."""
    dots: bool = False
    """Mark every point: for few values, such as one per epoch."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """Linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(series: Sequence[Series], *, x_label: str, title: str, y_from: float | None = None) -> Html | None:
    """The chart, or None when no series has a point.

    `y_from` is the lowest value that the vertical axis must show.
    """
    lines = [_thinned(one) for one in series]
    lines = [one for one in lines if one.points]
    if not lines:
        return None
    xs = [x for one in lines for x, _ in one.points]
    ys = [y for one in lines for _, y in one.points] + ([] if y_from is None else [y_from])
    x_ticks, y_ticks = ticks(min(0.0, *xs), max(xs), 6), ticks(min(ys), max(ys), 5)
    x = _Scale(min(0.0, *xs), max(xs), LEFT, WIDTH - RIGHT)
    y = _Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    drawing = tag(
        "svg",
        tag("title", title),
        _axes(x, y, x_ticks, y_ticks, x_label),
        *(_line(one, x, y) for one in lines),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
    )
    return tag("figure", tag("figcaption", tag("b", title), _legend(lines) if len(lines) > 1 else None), drawing)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) that enclose [low, high], about `most` of them.

    >>> ticks(0, 9.3, 5)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    >>> ticks(0.012, 0.03, 4)
    [0.01, 0.015, 0.02, 0.025, 0.03]
    >>> ticks(3, 3, 4)
    [2.5, 2.75, 3.0, 3.25, 3.5]
    """
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-300):  # all but the same
        margin = abs(low) / 6 or 0.5
        low, high = low - margin, high + margin
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda candidate: abs(math.log(candidate / rough)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, last + 1)]


def _thinned(one: Series) -> Series:
    points = [(x, y) for x, y in one.points if math.isfinite(y)]
    run = math.ceil(len(points) / MOST_POINTS)
    if run > 1:
        chunks = [points[i : i + run] for i in range(0, len(points), run)]
        points = [(sum(x for x, _ in c) / len(c), sum(y for _, y in c) / len(c)) for c in chunks]
    return Series(name=one.name, points=points, colour=one.colour, dots=one.dots)


def _axes(x: _Scale, y: _Scale, x_ticks: list[float], y_ticks: list[float], x_label: str) -> Html:
    parts = []
    for value in y_ticks:
        at = round(y(value), 1)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"))
        parts.append(tag("text", number(value), x=LEFT - 6, y=at + 3.5, class_="tick end"))
    for value in x_ticks:
        at = round(x(value), 1)
        if LEFT - 0.5 <= at <= WIDTH - RIGHT + 0.5:
            parts.append(tag("line", x1=at, x2=at, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="axis"))
            parts.append(tag("text", number(value), x=at, y=HEIGHT - BOTTOM + 15, class_="tick middle"))
    parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, class_="axis"))
    parts.append(tag("text", x_label, x=WIDTH - RIGHT, y=HEIGHT - 3, class_="tick end"))
    return join(*parts)


def _line(one: Series, x: _Scale, y: _Scale) -> Html:
    places = [(round(x(px), 1), round(y(py), 1)) for px, py in one.points]
    path = "M" + "L".join(f"{px} {py}" for px, py in places)
    radius = 2.6 if one.dots or len(places) == 1 else 0
    dots = [
        tag(
            "g",
            tag("title", f"{one.name} {number(py)} at {number(round(px, 3))}"),
            tag("circle", cx=at_x, cy=at_y, r=radius, class_="dot") if radius else None,
            tag("circle", cx=at_x, cy=at_y, r=6, class_="hit"),
        )
        for (px, py), (at_x, at_y) in zip(one.points, places, strict=True)
    ]
    return tag("g", tag("path", d=path), *dots, class_=f"series c{one.colour}")


def _legend(lines: Sequence[Series]) -> Html:
    marks = [join(tag("i", class_=f"key c{one.colour}"), one.name) for one in lines]
    return tag("span", *(tag("span", mark) for mark in marks), class_="legend")


def number(value: float) -> str:
    """A short number for an axis or a hover text.

    >>> number(1500.0), number(0.0125), number(2.0), number(0.00002)
    ('1,500', '0.0125', '2', '2e-05')
    """
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
