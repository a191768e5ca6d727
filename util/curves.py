"""Loss curves of bounded length, kept so that a whole curve can be drawn again at any time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

LONGEST_CURVE = 2000  # points; a redraw of ten losses is then under a megabyte


class Curve:
    """Keep every `stride`-th point of some losses, and the newest; at the limit halve them and double the stride."""

    def __init__(self, longest: int = LONGEST_CURVE) -> None:
        self.longest = longest + longest % 2  # even, so that dropping every second point keeps the newest
        self.stride = 1
        self.count = 0  # points ever added
        self.names: list[str] = []
        self.points: list[tuple[float, dict[str, float]]] = []

    def add(self, x: float, losses: Mapping[str, float]) -> None:
        """Add one point; a loss that is not in it has a gap there."""
        self.names += [name for name in losses if name not in self.names]
        if self.points and (self.count - 1) % self.stride:  # the last point was kept only as the newest
            self.points.pop()
        self.points.append((float(x), {name: float(loss) for name, loss in losses.items()}))
        self.count += 1
        if len(self.points) > self.longest:
            self.points = self.points[::2]
            self.stride *= 2

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x (N,) and y (N, number of names); NaN stands for a gap and for what is not finite."""
        y = [[losses.get(name, math.nan) for name in self.names] for _, losses in self.points]
        values = np.array(y, dtype=np.float64).reshape(len(self.points), len(self.names))
        values[~np.isfinite(values)] = math.nan
        return np.array([x for x, _ in self.points], dtype=np.float64), values

    def state_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for a checkpoint."""
        return {
            "stride": self.stride,
            "count": self.count,
            "names": list(self.names),
            "points": [[x, dict(losses)] for x, losses in self.points],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another run's curve ended."""
        self.stride, self.count, self.names = state["stride"], state["count"], list(state["names"])
        self.points = [(x, dict(losses)) for x, losses in state["points"]]
