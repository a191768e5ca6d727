"""The kernel distance equals its double loop."""

from __future__ import annotations

import pytest
import torch

from util.metrics.kernel_distance import kernel_distance


def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
    return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def written_out(fake: torch.Tensor, real: torch.Tensor) -> float:
    n, m = len(fake), len(real)
    fakes = sum(kernel(fake[i], fake[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    reals = sum(kernel(real[i], real[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return fakes + reals - 2 * sum(kernel(x, y) for x in fake for y in real) / (n * m)


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, generator=generator), 1 + torch.randn(7, 6, generator=generator)


def test_equals_the_double_loop(samples: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert kernel_distance(*samples) == pytest.approx(written_out(*samples), rel=1e-9)


def test_is_symmetric_and_grows_with_the_distance(samples: tuple[torch.Tensor, torch.Tensor]) -> None:
    fake, real = samples
    assert kernel_distance(fake, real) == pytest.approx(kernel_distance(real, fake), rel=1e-12)
    assert kernel_distance(fake, real + 1) > kernel_distance(fake, real)


def test_is_without_bias() -> None:
    """Two sets from one distribution are at distance 0 on average, whatever their size."""
    generator = torch.Generator().manual_seed(0)
    pairs = [torch.randn(2, 3, 4, generator=generator) for _ in range(4000)]
    distances = torch.tensor([kernel_distance(fake, real) for fake, real in pairs])
    assert abs(distances.mean()) < 4 * distances.std() / len(pairs) ** 0.5


@pytest.mark.parametrize("shapes", [(1, 3), (3, 1)])
def test_needs_two_of_each(shapes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"not {shapes[0]} and {shapes[1]}"):
        kernel_distance(torch.randn(shapes[0], 2), torch.randn(shapes[1], 2))
