"""The metrics of a network alone: its size, its operations and its time, for one image."""

from __future__ import annotations

import platform
import statistics

import torch
from torch import nn

from util.errors import UserError
from util.metrics.complexity import CONVENTIONS, latencies, macs, parameter_count
from util.metrics.evidence import Evidence, Measured
from util.metrics.memory import peak_memory

WARM_UP = 3
MACS = {
    "true": "multiply-accumulates that are computed",
    "paper": "transposed convolutions counted at their output's size, as CRD and DCD print them",
    "no_transposed": "transposed convolutions left out, as Portable GAN prints them",
}


def measure_complexity(evidence: Evidence) -> list[Measured]:
    """Return parameters, MACs by three conventions and bytes, and the milliseconds that stand beside every MAC."""
    network, shape, resolution = _network(evidence, "complexity")
    result = [Measured("parameters", parameter_count(network), resolution=resolution)]
    for convention in CONVENTIONS:
        count = macs(network, shape, convention)
        result.append(Measured(f"macs_{convention}", count, protocol=MACS[convention], resolution=resolution))
    if evidence.file is not None:
        result.append(Measured("bytes", evidence.file.stat().st_size, protocol="the weights' file"))
    return result + measure_latency(evidence)


def measure_latency(evidence: Evidence) -> list[Measured]:
    """Return the median milliseconds of one image (95th percentile as spread), and the peak of memory."""
    network, shape, resolution = _network(evidence, "latency")
    repeats = evidence.opt.latency_repeats

    def measure() -> list[float]:
        return latencies(network, shape, repeats, WARM_UP)

    times = evidence.once("latency", measure)
    words = (
        f"median of {repeats} after {WARM_UP} to warm up, spread: 95th percentile, batch 1, {place(evidence.device)}"
    )
    held = "weights, input and the most activations at once, batch 1"
    return [
        Measured("latency_ms", statistics.median(times), percentile(times, 95), protocol=words, resolution=resolution),
        Measured("peak_memory", peak_memory(network, shape), protocol=held, resolution=resolution),
    ]


def percentile(values: list[float], percent: float) -> float:
    """Return a percentile, interpolated between the values around it."""
    return float(torch.tensor(values, dtype=torch.float64).quantile(percent / 100))


def place(device: torch.device) -> str:
    """Name the kind of processor and the threads that a time belongs to."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    kind = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return f"CPU {kind}, {torch.get_num_threads()} threads"


def _network(evidence: Evidence, metric: str) -> tuple[nn.Module, tuple[int, ...], list[int]]:
    if evidence.network is None or evidence.shape is None:
        raise UserError(f"--metrics {metric} is about a network, and two folders have none; type a run's --name")
    return evidence.network, evidence.shape, [evidence.shape[3], evidence.shape[2]]
