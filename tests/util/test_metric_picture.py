"""The picture of metrics: panels, lines, gaps, ticks."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from util.curves import Curve
from util.metric_picture import _ticks, picture

NAMESPACE = "{http://www.w3.org/2000/svg}"


def curve(*points: tuple[float, dict[str, float]]) -> Curve:
    filled = Curve()
    for x, values in points:
        filled.add(x, values)
    return filled


def elements(svg: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(NAMESPACE + tag))


def test_a_panel_per_metric_and_a_line_per_network() -> None:
    kid = curve((5, {"G": 0.3, "G <ema>": 0.2}), (10, {"G": 0.1, "G <ema>": 0.25}))
    svg = picture({"kid": kid, "l1": curve((5, {"G": 0.5})), "ksd": Curve()})
    lines = [element.attrib["d"] for element in elements(svg, "path")]
    assert len(lines) == 3
    points = [tuple(map(float, point.split(","))) for point in lines[0][1:].split()]
    assert points[0][0] < points[1][0] and points[0][1] < points[1][1]  # to the right, and down to the lower value
    texts = [element.text for element in elements(svg, "text")]
    assert {"kid (lower is better)", "l1 (lower is better)", "G, best 0.1", "G <ema>, best 0.2"} <= set(texts)
    assert {"epoch 5", "epoch 10"} <= set(texts)


def test_the_ring_is_about_the_lowest_point() -> None:
    svg = picture({"kid": curve((1, {"G": 0.3}), (2, {"G": 0.1}), (3, {"G": 0.2}))})
    circles = elements(svg, "circle")
    (ring,) = (element for element in circles if element.get("class") == "best")
    assert ring.attrib["cy"] == max((e.attrib["cy"] for e in circles), key=float)


@pytest.mark.parametrize("values", [[0.0], [0.3, 0.3], [math.nan, 1.0], [math.nan], [-1e-7, 2e-7]])
def test_odd_values_are_drawn(values: list[float]) -> None:
    svg = picture({"ksd": curve(*((epoch, {"G": value}) for epoch, value in enumerate(values)))})
    assert "nan" not in svg and len(elements(svg, "path")) == any(math.isfinite(value) for value in values)


@pytest.mark.parametrize(("low", "high"), [(0.011, 0.087), (-3, 12), (5, 5), (0, 0), (1e-9, 3e-9), (0, 1000)])
def test_ticks_are_few_and_span_the_values(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    assert 3 <= len(ticks) <= 8 and ticks[0] <= low and ticks[-1] >= high
