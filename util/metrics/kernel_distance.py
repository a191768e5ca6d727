"""The kernel distance of two sets of features (Bińkowski et al., ICLR 2018): KID on Inception's, KSD on SqueezeNet's."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

SUBSETS, LARGEST_SUBSET = 100, 1000


def kernel_distance(fake: Tensor, real: Tensor) -> float:
    """Return the unbiased squared MMD of (N, D) and (M, D) features under the kernel (x.y / D + 1)^3; lower is better."""
    everyone = slice(None)
    return _unbiased(*_kernels(fake, real), everyone, everyone)


def kernel_distance_and_spread(fake: Tensor, real: Tensor, seed: int = 0) -> tuple[float, float | None, str]:
    """Return the distance of all samples, its deviation over random halves of the smaller set, and the latter in words."""
    value = kernel_distance(fake, real)
    size = min(LARGEST_SUBSET, min(len(fake), len(real)) // 2)
    if size < 2:
        return value, None, "no subsets"
    values = kernel_distance_over_subsets(fake, real, SUBSETS, size, seed)
    return value, statistics.stdev(values), f"spread: deviation over {SUBSETS} subsets of {size}"


def kernel_distance_over_subsets(fake: Tensor, real: Tensor, subsets: int, size: int, seed: int = 0) -> list[float]:
    """Return the distances of `subsets` random parts of both sets, `size` samples of each, drawn without repetition."""
    n, m = len(fake), len(real)
    if not 2 <= size <= min(n, m):
        raise ValueError(f"a subset of {size} can't be drawn from {n} and {m} samples")
    kernels, generator = _kernels(fake, real), torch.Generator().manual_seed(seed)
    return [
        _unbiased(
            *kernels, torch.randperm(n, generator=generator)[:size], torch.randperm(m, generator=generator)[:size]
        )
        for _ in range(subsets)
    ]


def _kernels(fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    fake, real = fake.double().cpu(), real.double().cpu()
    n, m = len(fake), len(real)
    if n < 2 or m < 2:
        raise ValueError(f"an unbiased distance needs two samples of each kind, not {n} and {m}")

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    return kernel(fake, fake).fill_diagonal_(0), kernel(real, real).fill_diagonal_(0), kernel(fake, real)


def _unbiased(fakes: Tensor, reals: Tensor, cross: Tensor, i: Tensor | slice, j: Tensor | slice) -> float:
    within_fakes, within_reals, between = fakes[i][:, i], reals[j][:, j], cross[i][:, j]
    n, m = len(within_fakes), len(within_reals)
    within = within_fakes.sum() / (n * (n - 1)) + within_reals.sum() / (m * (m - 1))
    return float(within - 2 * between.mean())
