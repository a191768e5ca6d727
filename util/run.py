"""Where a run stands, what is due there, and how long things take: the clockwork of train.py's loop."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

WARM_UP = 20  # steps after each start that are not timed: they compile, choose algorithms and fill caches
TIMED = 1000  # steps whose durations are kept


@dataclass
class Place:
    """A place in a run, exact to the step; the next step to be taken is the one it points at."""

    epoch: int = 1
    turn: int = 0  # which of the epoch's passes
    position: int = 0  # images of the pass already seen
    passes: int = 0  # passes finished, over all epochs: the key of the data's order
    epoch_iter: int = 0  # images seen in this epoch
    total_iters: int = 0  # images seen in all
    steps: int = 0
    step_images: int = 0  # images of the last step
    seconds: float = 0.0  # spent in steps and in waiting for their data, over all interruptions

    def stepped(self, images: int, seconds: float = 0.0) -> None:
        """Count one step over `images` images."""
        self.seconds += seconds
        self.steps += 1
        self.position += images
        self.epoch_iter += images
        self.total_iters += images
        self.step_images = images

    def pass_done(self) -> None:
        """Point at the beginning of the next pass."""
        self.turn, self.position, self.passes = self.turn + 1, 0, self.passes + 1

    def epoch_done(self) -> None:
        """Point at the beginning of the next epoch."""
        self.epoch, self.turn, self.epoch_iter = self.epoch + 1, 0, 0

    def due(self, frequency: int) -> bool:
        """Tell whether the last step reached a multiple of `frequency` images (with any batch size)."""
        return frequency > 0 and self.total_iters // frequency > (self.total_iters - self.step_images) // frequency

    def state_dict(self) -> dict[str, float]:
        """Return the place in plain types."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Be the place that `state_dict` described."""
        for field in fields(self):
            setattr(self, field.name, state[field.name])


class Timer:
    """Tell when so many minutes have passed since the last reset; 0 = never."""

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.reset()

    def reset(self) -> None:
        """Begin to wait anew."""
        self.began = time.monotonic()

    def due(self) -> bool:
        """Tell whether it is time."""
        return self.seconds > 0 and time.monotonic() - self.began >= self.seconds


class Stopwatch:
    """Tell how long the last step waited for its data and how long it took, in seconds."""

    def __init__(self) -> None:
        self.data = self.step = 0.0

    def over(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches, timing the wait for each."""
        asked = time.monotonic()
        for batch in batches:
            self.data = time.monotonic() - asked
            self.began = time.monotonic()
            yield batch
            asked = time.monotonic()

    def stop(self) -> None:
        """Note that the step is done."""
        self.step = time.monotonic() - self.began


class Pace:
    """Know how long a step takes, from the end of one to the end of the next, and the most memory that a run has taken.

    A step on a GPU goes on when the call that began it is over, so only the distance between ends tells its duration.
    """

    def __init__(self) -> None:
        self.durations: deque[float] = deque(maxlen=TIMED)
        self.memory: dict[str, int] = {}
        self.steps = 0
        self.ended: float | None = None

    def step(self) -> None:
        """Note that a step has ended."""
        now = time.monotonic()
        self.steps += 1
        if self.ended is not None and self.steps > WARM_UP:
            self.durations.append(now - self.ended)
        self.ended = now

    def pause(self) -> None:
        """Leave out what happens until the next step ends: a save, an evaluation, the beginning of a pass."""
        self.ended = None

    def state_dict(self) -> dict[str, Any]:
        """Return the median duration in seconds (None: not known), the durations, and the peaks in bytes."""
        self._look()
        median = statistics.median(self.durations) if self.durations else None
        return {"median": median, "durations": list(self.durations), "memory": dict(self.memory)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on measuring."""
        self.durations = deque(state["durations"], maxlen=TIMED)
        self.memory = dict(state["memory"])

    def _look(self) -> None:
        found = {"process": peak_of_process()}
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            found["gpu"] = torch.cuda.max_memory_allocated()
        self.memory |= {name: max(peak, self.memory.get(name, 0)) for name, peak in found.items()}


def peak_of_process() -> int:
    """Return the most memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts kilobytes
