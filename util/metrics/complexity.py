"""What a generator costs to run: parameters, multiply-accumulates, milliseconds."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

CONVENTIONS = ("true", "paper", "no_transposed")


def parameter_count(network: nn.Module) -> int:
    """Return the number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, shape: Sequence[int], convention: str = "true") -> int:
    """Return the multiply-accumulates of one (B, C, H, W) input, by one of the three conventions that papers mix.

    "true": what is computed. "paper": a transposed convolution counted at its output's size, which is four times too
    much at stride 2 and gives CRD's and DCD's 56.80, 1.408 and 1.219 G. "no_transposed": left out (Portable GAN).
    Biases, norms and activations are not counted.
    """
    network, image = copy.deepcopy(network).to("meta").eval(), torch.empty(*shape, device="meta")
    if convention == "true":
        with FlopCounterMode(display=False) as counter:
            network(image)
        return counter.get_total_flops() // 2
    if convention not in CONVENTIONS:
        raise ValueError(f"convention {convention} is none of {', '.join(CONVENTIONS)}")
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.ConvTranspose2d) and convention == "no_transposed":
            return
        weight = module.weight
        assert isinstance(weight, Tensor)
        # per output position: every weight of the layer once (a grouped layer has fewer weights already)
        total += weight.numel() * math.prod(output.shape[2:]) * output.shape[0]

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    network(image)
    return total


@torch.no_grad()
def latencies(network: nn.Module, shape: Sequence[int], repeats: int = 20, warm_up: int = 3) -> list[float]:
    """Return the milliseconds of each of `repeats` forward passes on the network's device, after some to warm up."""
    device = next(network.parameters()).device
    image = torch.rand(*shape, device=device) * 2 - 1
    times = []
    for _ in range(repeats + warm_up):
        start = time.perf_counter()
        network(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1000 * (time.perf_counter() - start))
    return times[warm_up:]


def latency(network: nn.Module, shape: Sequence[int], repeats: int = 20) -> float:
    """Return the median milliseconds of a forward pass."""
    return statistics.median(latencies(network, shape, repeats))
