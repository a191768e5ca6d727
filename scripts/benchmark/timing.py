"""Timing of variants in turn, and memory at its peak: what all benchmarks measure with."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch


class Times(NamedTuple):
    """Seconds on the wall clock, and of the process on its cores, which other processes lengthen less."""

    wall: float
    cpu: float


def median_seconds(
    variants: Mapping[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Return each variant's median time; they run in turn."""
    return {name: times.wall for name, times in median_times(variants, repeats, device).items()}


def median_times(
    variants: Mapping[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, Times]:
    """Return each variant's median times, by both clocks; they run in turn."""
    times = times_in_turn(variants, repeats, device)
    return {name: Times(*map(statistics.median, zip(*values, strict=True))) for name, values in times.items()}


def seconds_in_turn(
    variants: Mapping[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, list[float]]:
    """Return each variant's times; they run in turn."""
    times = times_in_turn(variants, repeats, device)
    return {name: [one.wall for one in values] for name, values in times.items()}


def times_in_turn(
    variants: Mapping[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, list[Times]]:
    """Return each variant's times by both clocks; they run in turn, so that a busy moment of the machine hits all."""
    times: dict[str, list[Times]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            wait_for(device)
            start = time.perf_counter(), time.process_time()
            run()
            wait_for(device)
            times[name].append(Times(time.perf_counter() - start[0], time.process_time() - start[1]))
    return times


def wait_for(device: torch.device | str) -> None:
    """Wait until an accelerator has done what it was asked."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes() -> int:
    """Return the process's peak resident memory; it only ever rises."""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """Return what the process holds now, where the system tells, else the most that it held so far."""
    return _status("VmRSS") or peak_bytes()


def _status(field: str) -> int:
    """Return a number of bytes from /proc; unlike getrusage's it is not a parent's, whose peak children inherit."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute on `count` threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
