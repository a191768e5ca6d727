"""The Fréchet distance: known answers, and the matrix square root that it does without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg

from util.metrics.frechet import Gaussian, frechet_distance, gaussian_of_moments, gaussian_of_samples


def dense(fake: torch.Tensor, real: torch.Tensor) -> float:
    """Write the distance out with a matrix square root of the product of covariances."""
    means, covariances = zip(*((x.numpy().mean(0), np.cov(x.numpy(), rowvar=False)) for x in (fake, real)), strict=True)
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root.real))


def correlated(n: int, d: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing + seed


def test_gaussians_of_one_dimension() -> None:
    """(m - n)² + (s - t)²: means 1 and 4, deviations 2 and 7."""
    fake, real = (Gaussian(torch.tensor([m]).double(), torch.tensor([[s]]).double()) for m, s in ((1, 2), (4, 7)))
    assert frechet_distance(fake, real) == pytest.approx(3**2 + 5**2, rel=1e-12)


def test_gaussians_that_commute() -> None:
    """Diagonal covariances: the sum over dimensions."""
    zero = torch.zeros(3).double()
    fake = gaussian_of_moments(zero, torch.diag(torch.tensor([1.0, 4.0, 9.0])))
    real = gaussian_of_moments(zero + 2, torch.diag(torch.tensor([16.0, 4.0, 0.0])))
    assert frechet_distance(fake, real) == pytest.approx(3 * 4 + 3**2 + 0 + 3**2, rel=1e-12)


def test_samples_of_known_gaussians() -> None:
    """N(0, I) and N(1, 4 I) in 8 dimensions are 8 (1 + 1) apart."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20000, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    assert frechet_distance(gaussian_of_samples(x), gaussian_of_samples(2 * y + 1)) == pytest.approx(16, rel=0.03)


@pytest.mark.parametrize(("n", "m", "d"), [(50, 60, 12), (12, 60, 30), (9, 7, 40)], ids=["many", "one few", "few"])
def test_equals_the_dense_square_root(n: int, m: int, d: int) -> None:
    fake, real = correlated(n, d, 1), correlated(m, d, 2)
    found = frechet_distance(gaussian_of_samples(fake), gaussian_of_samples(real))
    assert found == pytest.approx(dense(fake, real), rel=1e-4)
    assert np.isfinite(linalg.sqrtm(np.cov(fake.numpy().T) @ np.cov(real.numpy().T))).all()  # no offset was needed


def test_moments_say_what_samples_say() -> None:
    fake, real = gaussian_of_samples(correlated(9, 20, 1)), gaussian_of_samples(correlated(50, 20, 2))
    known = gaussian_of_moments(real.mean, real.covariance)
    assert frechet_distance(fake, known) == pytest.approx(frechet_distance(fake, real), rel=1e-9)


def test_a_set_is_at_no_distance_from_itself() -> None:
    one = gaussian_of_samples(correlated(9, 20, 1))
    assert abs(frechet_distance(one, one)) < 1e-9 * float(one.root.square().sum())


def test_the_covariance_is_numpys() -> None:
    for n in (5, 50):
        samples = correlated(n, 10, 3)
        assert np.allclose(gaussian_of_samples(samples).covariance, np.cov(samples.numpy(), rowvar=False), rtol=1e-9)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="two samples, not 1"):
        gaussian_of_samples(torch.zeros(1, 3))
