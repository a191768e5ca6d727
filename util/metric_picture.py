"""A picture of metrics over epochs: one panel per metric, one line per network, as an SVG that stands alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

import numpy as np

from util.curves import Curve

WIDTH, PANEL = 720, 260  # of the whole, and the height of a panel
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 34, 36  # margins of a panel; to the right stand the lines' names
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #6b6b70; }
.title { font-weight: 600; font-size: 13px; fill: #1d1d1f; }
.grid { stroke: #e3e3e6; }
path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.c0 { --c: #2563eb; } .c1 { --c: #d97706; } .c2 { --c: #059669; } .c3 { --c: #db2777; } .c4 { --c: #7c3aed; }
path { stroke: var(--c); } circle { fill: var(--c); } .best { fill: none; stroke: var(--c); stroke-width: 2; }
.name { fill: var(--c); }
@media (prefers-color-scheme: dark) { text { fill: #9a9aa2; } .title { fill: #ececee; } .grid { stroke: #2e3036; }
  .c0 { --c: #60a5fa; } .c1 { --c: #fbbf24; } .c2 { --c: #34d399; } .c3 { --c: #f472b6; } .c4 { --c: #a78bfa; } }
"""
COLOURS = 5


def picture(curves: Mapping[str, Curve]) -> str:
    """Draw the curves of each metric over the epochs; a ring marks each line's lowest point, which is its best."""
    drawn = {metric: curve for metric, curve in curves.items() if curve.points}
    panels = [_panel(metric, curve, number * PANEL) for number, (metric, curve) in enumerate(drawn.items())]
    height = max(1, len(panels)) * PANEL
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *panels, "</svg>\n"])


def _panel(metric: str, curve: Curve, top: int) -> str:
    x, values = curve.arrays()
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    first, last = float(x[0]), float(x[-1])
    right, bottom = WIDTH - RIGHT, PANEL - BOTTOM

    def across(epoch: float) -> float:
        return LEFT + (right - LEFT) * ((epoch - first) / (last - first) if last > first else 0.5)

    def down(value: float) -> float:
        return bottom - (bottom - TOP) * ((value - low) / (high - low))

    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(metric)} (lower is better)</text>']
    for tick in ticks:
        y = down(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for epoch in dict.fromkeys((first, last)):
        parts.append(f'<text x="{across(epoch):.1f}" y="{bottom + 18}" text-anchor="middle">epoch {epoch:g}</text>')
    names = []
    for column, name in enumerate(curve.names):
        points = [(across(e), down(v), v) for e, v in zip(x, values[:, column], strict=True) if math.isfinite(v)]
        if not points:
            continue
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)
        colour = f'class="c{column % COLOURS}"'
        parts.append(f'<g {colour}><path d="M{line}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b, _ in points]
        a, b, best = min(points, key=lambda point: point[2])
        parts.append(f'<circle class="best" cx="{a:.1f}" cy="{b:.1f}" r="6"/></g>')
        names.append((points[-1][1], f"{name}, best {best:.3g}", colour))
    y = -math.inf
    for wanted, name, colour in sorted(names):  # beside its line's end, but never over another
        y = max(wanted + 4, y + 16)
        parts.append(f'<g {colour}><text class="name" x="{right + 14}" y="{y:.1f}">{escape(name)}</text></g>')
    return f'<g transform="translate(0 {top})">{"".join(parts)}</g>'


def _ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers that span from `low` to `high`."""
    if not high > low:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(step * number, 12) for number in range(math.floor(low / step), math.ceil(high / step) + 1)]
