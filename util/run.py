"""Where a run stands, what is due there, and how long things take: the clockwork of train.py's loop."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


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
