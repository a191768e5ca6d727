"""The Fréchet distance of two Gaussians (Heusel et al., NeurIPS 2017, Eq. 6), exact and quick for few samples too.

With covariances S = AᵀA and T = BᵀB, tr (ST)^½ is the sum of the singular values of ABᵀ. A set of n samples gives A
with n rows, so that few samples cost little; no matrix square root is taken, and nothing is added to a diagonal.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """A mean (D,) and a root (R, D) of the covariance: rootᵀ root, in float64."""

    mean: Tensor
    root: Tensor

    @property
    def covariance(self) -> Tensor:
        """Return (D, D)."""
        return self.root.T @ self.root


def gaussian_of_samples(features: Tensor) -> Gaussian:
    """Fit a Gaussian to (N, D) features, with the unbiased covariance."""
    features = features.double()
    n, d = features.shape
    if n < 2:
        raise ValueError(f"a covariance needs two samples, not {n}")
    mean = features.mean(0)
    root = (features - mean) / (n - 1) ** 0.5
    return Gaussian(mean, torch.linalg.qr(root, mode="r").R if n > d else root)


def gaussian_of_moments(mean: Tensor, covariance: Tensor) -> Gaussian:
    """Return the Gaussian with mean (D,) and covariance (D, D)."""
    mean, covariance = mean.double(), covariance.double()
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    # rounding leaves a singular covariance slightly negative eigenvalues
    return Gaussian(mean, values.clamp(min=0).sqrt()[:, None] * vectors.T)


def frechet_distance(fake: Gaussian, real: Gaussian) -> float:
    """Return |m - n|² + tr(S + T - 2 (ST)^½)."""
    cross = torch.linalg.svdvals(fake.root @ real.root.T).sum()
    return float(
        (fake.mean - real.mean).square().sum() + fake.root.square().sum() + real.root.square().sum() - 2 * cross
    )
