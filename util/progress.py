"""What the person who waits wants to know: a bar with the time left, and an early estimate."""

from __future__ import annotations

import sys
import time

import torch
from tqdm import tqdm

from util import distributed
from util.run import Pace, peak_of_process

ESTIMATE_AFTER = 20


class Progress:
    """Count steps on a bar that works on a terminal and in a log file; speak up once after 20 steps."""

    def __init__(self, total_steps: int, steps_per_epoch: float, done: int = 0, pace: Pace | None = None) -> None:
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=total_steps, initial=done, unit="step", dynamic_ncols=True, smoothing=0.1,
            mininterval=0.5 if terminal else 15.0, disable=not distributed.is_first(),
        )  # fmt: skip
        self.left = total_steps - done
        self.pace = pace or Pace()
        self.steps_per_epoch = steps_per_epoch
        self.steps = 0
        self.began = 0.0

    def step(self) -> None:
        """Count one step."""
        self.bar.update()
        self.pace.step()
        self.steps += 1
        if self.steps == 1:
            self.began = time.monotonic()  # the first step also pays for warm-up: the estimate starts after it
        if self.steps == ESTIMATE_AFTER:
            self.say(self.estimate())

    def estimate(self) -> str:
        """Return time per epoch, time of finish and peak memory, as far as they can be told now."""
        seconds = (time.monotonic() - self.began) / max(1, self.steps - 1)
        finish = time.time() + seconds * max(0, self.left - self.steps)
        return (
            f"after {self.steps} steps: {seconds:.3f} s a step, {_duration(seconds * self.steps_per_epoch)} an epoch, "
            f"finished about {time.strftime('%Y-%m-%d %H:%M', time.localtime(finish))}, peak memory {peak_memory()}"
        )

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        tqdm.write(text)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


def peak_memory() -> str:
    """Return the process's peak memory, and the GPU's where one is used."""
    text = f"{peak_of_process() / 2**30:.1f} GiB"
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        text += f" ({torch.cuda.max_memory_allocated() / 2**30:.1f} GiB on the GPU)"
    return text


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
