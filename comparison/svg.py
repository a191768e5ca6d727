"""Plots as inline SVG: text and axes in the page's own colours, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 42
COLOURS = 8  # the page's style has --c0 to --c7
SHAPES = ("circle", "square", "diamond", "triangle")
DODGE = 9.0  # pixels between points that share their x


@dataclass(frozen=True)
class Point:
    """A row's place: x, y, the standard deviation of y, and what a pointer is told."""

    name: str
    x: float
    y: float
    deviation: float
    words: str


@dataclass(frozen=True)
class Axis:
    """A range of numbers on pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, value = (math.log(max(v, 1e-12)) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / ((high - low) or 1) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round numbers within the range."""
        if self.log and self.high / self.low > 8:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1,) if self.high / self.low > 300 else (1, 3)
            values = [step * 10.0**power for power in powers for step in steps]
        else:
            span = self.high - self.low
            rough = 10 ** math.floor(math.log10(span / 4))
            step = next(step for step in (rough, 2 * rough, 5 * rough, 10 * rough) if span / step <= 6)
            values = [i * step for i in range(math.floor(self.low / step), math.ceil(self.high / step) + 1)]
        return [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]


def colour(place: int) -> str:
    """Return the colour of a row by its place in the plan."""
    return f"var(--c{place % COLOURS})"


def scatter(points: Sequence[Point], places: Mapping[str, int], x_label: str, y_label: str, title: str) -> str:
    """Draw quality against cost, a point per row and width; rows of equal cost stand side by side."""
    xs, ys = _range([p.x for p in points]), _range([y for p in points for y in (p.y - p.deviation, p.y + p.deviation)])
    horizontal = Axis(*xs, LEFT, WIDTH - RIGHT, log=min(p.x for p in points) > 0 and xs[1] > 4 * xs[0] > 0)
    vertical = Axis(*ys, HEIGHT - BOTTOM, TOP)
    marks = []
    for group in _neighbours(points, horizontal):
        for i, point in enumerate(group):
            x = horizontal.at(point.x) + DODGE * (i - (len(group) - 1) / 2)
            place = places[point.name]
            bar = ""
            if point.deviation:
                ends = vertical.at(point.y - point.deviation), vertical.at(point.y + point.deviation)
                bar = f'<path d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}" stroke="{colour(place)}" stroke-width="1.5"/>'
            shape = _shape(SHAPES[place // COLOURS % len(SHAPES)], x, vertical.at(point.y), colour(place))
            marks.append(f"<g><title>{escape(point.words)}</title>{bar}{shape}</g>")
    return _frame(horizontal, vertical, x_label, y_label, title, "".join(marks))


def lines(
    curves: Mapping[str, Sequence[Sequence[float]]], places: Mapping[str, int], x_label: str, y_label: str, title: str
) -> str:
    """Draw courses over epochs; a logarithmic scale where all values are positive and far apart.

    Points that are no numbers are left out, as courses are that have no others; nothing is drawn when none is left.
    """
    curves = {name: [(x, y) for x, y in points if math.isfinite(x + y)] for name, points in curves.items()}
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return ""
    values = [y for points in curves.values() for _, y in points]
    ys = _range(values)
    log = min(values) > 0 and max(values) > 20 * min(values)
    if log:
        ys = (min(values) / 1.2, max(values) * 1.2)
    horizontal = Axis(*_range([x for points in curves.values() for x, _ in points], 0), LEFT, WIDTH - RIGHT)
    vertical = Axis(*ys, HEIGHT - BOTTOM, TOP, log)
    paths = []
    for name, points in curves.items():
        path = "L".join(f"{horizontal.at(x):.1f} {vertical.at(y):.1f}" for x, y in points)
        dash = ("", "6 3", "2 3")[places[name] // COLOURS % 3]
        paths.append(
            f'<g><title>{escape(name)}</title><path d="M{path}" fill="none" stroke="{colour(places[name])}" '
            f'stroke-width="1.75" stroke-linejoin="round" stroke-dasharray="{dash}"/></g>'
        )
    return _frame(horizontal, vertical, x_label, y_label, title, "".join(paths))


def legend(places: Mapping[str, int], names: Sequence[str]) -> str:
    """Return the key to colours and shapes, as HTML that wraps."""
    items = []
    for name in names:
        place = places[name]
        mark = _shape(SHAPES[place // COLOURS % len(SHAPES)], 6, 6, colour(place))
        items.append(
            f'<li><svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{mark}</svg>{escape(name)}</li>'
        )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _frame(horizontal: Axis, vertical: Axis, x_label: str, y_label: str, title: str, content: str) -> str:
    parts = []
    for tick in vertical.ticks():
        y = vertical.at(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for tick in horizontal.ticks():
        parts.append(
            f'<text x="{horizontal.at(tick):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="label" x="{middle[0]:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text class="label" transform="translate(13 {middle[1]:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}{content}</svg>"
    )


def short(number: float) -> str:
    """Write a number of a scale so that it fits beside the axis: 300000 is 300k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{number:g}"


def _range(values: Sequence[float], margin: float = 0.08) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return (low * 0.8, high * 1.2) if low > 0 else (low - 1, high + 1)
    room = margin * (high - low)
    return (max(low - room, low / 1.3) if low > 0 else low - room), high + room


def _neighbours(points: Sequence[Point], axis: Axis) -> list[list[Point]]:
    """Group the points whose places along an axis would overlap."""
    groups: list[list[Point]] = []
    for point in sorted(points, key=lambda p: p.x):
        if groups and axis.at(point.x) - axis.at(groups[-1][0].x) < DODGE:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def _shape(kind: str, x: float, y: float, fill: str) -> str:
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}"/>'
    offsets = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "diamond": ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)),
        "triangle": ((0, -5), (5, 4), (-5, 4)),
    }[kind]
    return f'<polygon points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in offsets)}" fill="{fill}"/>'
