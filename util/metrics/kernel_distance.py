"""The kernel distance of two sets of features (Bińkowski et al., ICLR 2018): KID on Inception's, KSD on SqueezeNet's."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_distance(fake: Tensor, real: Tensor) -> float:
    """Return the unbiased squared MMD of (N, D) and (M, D) features under the kernel (x.y / D + 1)^3; lower is better."""
    fake, real = fake.double(), real.double()
    n, m = len(fake), len(real)
    if n < 2 or m < 2:
        raise ValueError(f"an unbiased distance needs two samples of each kind, not {n} and {m}")

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within_fake, within_real = kernel(fake, fake), kernel(real, real)
    fakes = (within_fake.sum() - within_fake.trace()) / (n * (n - 1))
    reals = (within_real.sum() - within_real.trace()) / (m * (m - 1))
    return float(fakes + reals - 2 * torch.mean(kernel(fake, real)))
